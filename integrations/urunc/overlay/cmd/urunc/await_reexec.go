package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// `urunc create` returns before the process that it leaves behind listens on reexec.sock, and `urunc start` of v0.7.0
// does not wait for that: on a busy host it fails with "dial unix …/reexec.sock: connect: no such file or directory", or
// "connection refused" where the socket has its name and does not listen yet. So wait here, before main: for as long as the container is there, and not for ever.
func init() {
	directory := startedContainer(os.Args)
	if directory == "" {
		return
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if listens(filepath.Join(directory, "reexec.sock"), processOf(directory)) {
			return
		}
		if _, err := os.Stat(directory); err != nil {
			return // main says what is wrong
		}
	}
}

// processOf is the process that `urunc create` wrote into state.json, or 0.
func processOf(directory string) int {
	var state struct{ Pid int }
	text, err := os.ReadFile(filepath.Join(directory, "state.json"))
	if err != nil || json.Unmarshal(text, &state) != nil {
		return 0
	}
	return state.Pid
}

// listens tells whether a UNIX socket of that name accepts connections, in the network namespace of a process. To try by
// a connection would take the place of the one that the listener waits for.
func listens(path string, pid int) bool {
	const acceptsConnections = "00010000" // __SO_ACCEPTCON in the fourth column of proc_pid_net(5), unix
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/unix", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(table)) {
		columns := strings.Fields(line)
		if len(columns) == 8 && columns[7] == path && columns[3] == acceptsConnections {
			return true
		}
	}
	return false
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
