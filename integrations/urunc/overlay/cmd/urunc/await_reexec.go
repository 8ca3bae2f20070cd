package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// `urunc create` returns before the process that it leaves behind listens on reexec.sock, and `urunc start` of v0.7.0
// does not wait for that: on a busy host it fails with "dial unix …/reexec.sock: connect: no such file or directory", or
// "connection refused" where the socket has its name and does not listen yet. So wait here, before main: for as
// long as the container is there, and not for ever.
func init() {
	directory := startedContainer(os.Args)
	if directory == "" {
		return
	}
	logrus.AddHook(lastWords{directory})
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if listens(filepath.Join(directory, "reexec.sock"), processOf(directory)) {
			return
		}
		if _, err := os.Stat(directory); err != nil {
			return // main says what is wrong
		}
	}
}

// lastWords holds back `urunc start` when it is about to fail. The container's process has told it so before it writes why
// to its standard error, and Docker stops reading that as soon as `urunc start` ends: `docker logs` was empty now and then.
type lastWords struct{ directory string }

func (l lastWords) Levels() []logrus.Level {
	return []logrus.Level{logrus.ErrorLevel}
}

// Fire waits until the process has ended, and a moment for what it wrote to arrive; a second at most.
func (l lastWords) Fire(*logrus.Entry) error {
	pid := processOf(l.directory)
	for deadline := time.Now().Add(time.Second); pid != 0 && lives(pid) && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	return nil
}

// lives is false for a zombie too.
func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
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
