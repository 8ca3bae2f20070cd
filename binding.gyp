{
  # The tap back end's system calls. Plain C on Node-API: one build serves every Node from 20 on.
  "targets": [
    {
      "target_name": "tsvmm_net",
      "sources": ["devices/net/tap/tap.c"],
      "cflags": ["-std=gnu11", "-O2", "-Wall", "-Wextra"]
    }
  ]
}
