{
  # The system calls that Node lacks. Plain C on Node-API: one build serves every Node from 20 on.
  "targets": [
    {
      "target_name": "tsvmm_net",
      "sources": ["<!@(ls native/*.c)"],
      "cflags": ["-std=gnu11", "-O2", "-Wall", "-Wextra"]
    }
  ]
}
