package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// `urunc create` returns before the process that it leaves behind listens on reexec.sock, and `urunc start` of v0.7.0
// does not wait for that: on a busy host it fails with "dial unix …/reexec.sock: connect: no such file or directory".
// So wait here, before main: for as long as the container is there, and not for ever.
func init() {
	directory := startedContainer(os.Args)
	if directory == "" {
		return
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(directory, "reexec.sock")); err == nil {
			return
		}
		if _, err := os.Stat(directory); err != nil {
			return // main says what is wrong
		}
	}
}

// startedContainer is the state directory in `urunc [--root R] [options] start <id>`, or empty for other commands.
func startedContainer(commandLine []string) string {
	last := len(commandLine) - 1
	if last < 2 || commandLine[last-1] != "start" {
		return ""
	}
	root := "/run/urunc"
	for i, word := range commandLine[:last-1] {
		option, value, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case option != "root" || !strings.HasPrefix(word, "-"):
		case hasValue:
			root = value
		default:
			root = commandLine[i+1]
		}
	}
	return filepath.Join(root, commandLine[last])
}
