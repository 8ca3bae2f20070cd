package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Docker before 26 connects a container's network by a Prestart hook, which OCI has deprecated and urunc v0.7.0 leaves
// out: no eth0 would be there. A CreateRuntime hook runs at the same moment and in the same namespaces (config.md of the
// runtime specification, "POSIX-platform Hooks"), so before main reads the bundle, the one becomes the other.
//
// Docker's hook goes by its args[0], and v0.7.0 gives every hook its path there. So the new hook is this program, which
// executes the old one.
func init() {
	if len(os.Args) > 3 && os.Args[1] == execHook {
		err := syscall.Exec(os.Args[2], os.Args[3:], os.Environ()) //nolint: gosec
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[2], err)
		os.Exit(1)
	}
	bundle := createdBundle(os.Args)
	if bundle == "" {
		return
	}
	self, err := os.Executable()
	if err == nil {
		err = prestartToCreateRuntime(filepath.Join(bundle, specConfig), self)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "Prestart hooks:", err)
		os.Exit(1)
	}
}

// execHook is the command of this program that executes `path args…`.
const execHook = "exec-hook"

// createdBundle is the bundle in `urunc … create|run [--bundle B] <id>`, or empty for other commands.
func createdBundle(commandLine []string) string {
	command := slices.IndexFunc(commandLine, func(word string) bool { return word == "create" || word == "run" })
	if command < 0 || slices.Contains(commandLine, "--reexec") {
		return ""
	}
	words := commandLine[command+1:]
	for i, word := range words {
		option, value, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case !strings.HasPrefix(word, "-") || option != "b" && option != "bundle":
		case hasValue:
			return value
		case i+1 < len(words):
			return words[i+1]
		}
	}
	return "."
}

// prestartToCreateRuntime rewrites an OCI config.json; it leaves alone what it does not know. A file that cannot be read
// is main's to complain of.
func prestartToCreateRuntime(path, self string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var config map[string]json.RawMessage
	var hooks specs.Hooks
	if json.Unmarshal(text, &config) != nil || json.Unmarshal(config["hooks"], &hooks) != nil {
		return nil
	}
	prestart := hooks.Prestart //nolint: staticcheck
	if len(prestart) == 0 {
		return nil
	}
	for i, hook := range prestart {
		prestart[i].Path = self
		prestart[i].Args = append([]string{self, execHook, hook.Path}, hook.Args...)
	}
	hooks.CreateRuntime = append(prestart, hooks.CreateRuntime...)
	hooks.Prestart = nil //nolint: staticcheck
	if config["hooks"], err = json.Marshal(hooks); err != nil {
		return err
	}
	if text, err = json.Marshal(config); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	fresh := path + ".new"
	if err := os.WriteFile(fresh, text, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}
