/*
 * /usr/lib/tsvmm/bin/tsvmm of an installation: becomes Node running tsvmm.cjs beside it, with an environment of which
 * nothing is left but the time zone. Node obeys NODE_OPTIONS, NODE_EXTRA_CA_CERTS and a score of others, and the dynamic
 * linker obeys LD_*, before a line of ours could stop them; whoever starts a container does not choose what its monitor
 * loads. This program is linked statically, so it obeys none of them, and it needs neither /proc nor /usr/bin/env.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define HOME "/usr/lib/tsvmm"
#define LAUNCHER "/lib/tsvmm/bin/tsvmm"

/* execve(2) fails that way where no program could be started; so does a shell. */
enum { STATUS_NOT_FOUND = 127 };

/*
 * Puts the directory of the installation into `home`: the one this file is part of. A copy of this file elsewhere (a
 * container's engine binds the monitor alone to its place) belongs to the one in HOME; files beside it mean nothing.
 */
static void find_home(char home[PATH_MAX]) {
  const char *executed = (const char *)getauxval(AT_EXECFN);
  if (executed && realpath(executed, home)) {
    size_t length = strlen(home);
    size_t tail = strlen(LAUNCHER);
    if (length >= tail && strcmp(home + length - tail, LAUNCHER) == 0) {
      home[length - strlen("/bin/tsvmm")] = '\0';
      return;
    }
  }
  strcpy(home, HOME);
}

int main(int argc, char **argv) {
  char home[PATH_MAX];
  char node[PATH_MAX + sizeof "/bin/node"];
  char script[PATH_MAX + sizeof "/bin/tsvmm.cjs"];
  find_home(home);
  sprintf(node, "%s/bin/node", home);
  sprintf(script, "%s/bin/tsvmm.cjs", home);

  char **words = calloc(argc + 5, sizeof *words);
  if (!words) {
    perror("tsvmm");
    return STATUS_NOT_FOUND;
  }
  words[0] = node;
  words[1] = "--preserve-symlinks-main"; /* spares Node's look at each directory of the script's path: some ms */
  words[2] = "--no-memory-reducer"; /* as in the first lines of the script */
  words[3] = script;
  for (int i = 1; i < argc; i++) words[i + 3] = argv[i];

  char *environment[2] = {NULL, NULL};
  for (char **entry = environ; *entry; entry++) {
    if (strncmp(*entry, "TZ=", 3) == 0) environment[0] = *entry;
  }

  execve(node, words, environment);
  /* ENOENT also stands for a program interpreter, /lib64/ld-linux-x86-64.so.2, that is missing. */
  fprintf(stderr, "tsvmm: cannot start %s: %s\n", node, strerror(errno));
  return STATUS_NOT_FOUND;
}
