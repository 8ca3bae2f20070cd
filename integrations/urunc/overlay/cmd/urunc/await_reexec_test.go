package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestStartedContainer(t *testing.T) {
	for line, directory := range map[string]string{
		"urunc start abc":                               "/run/urunc/abc",
		"urunc --root /r --log /l start abc":            "/r/abc",
		"urunc --log=/l --root=/r start abc":            "/r/abc",
		"urunc -root /r start abc":                      "/r/abc",
		"urunc --root /r create --bundle /b start":      "",
		"urunc --root /r delete abc":                    "",
		"urunc --root /run/d/runtime-runc/moby start 1": "/run/d/runtime-runc/moby/1",
		"urunc": "",
	} {
		assert.Equal(t, directory, startedContainer(strings.Fields(line)), line)
	}
}

func TestListens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	assert.False(t, listens(path, os.Getpid()))

	// Its name is there from bind(2) on.
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer unix.Close(socket)
	require.NoError(t, unix.Bind(socket, &unix.SockaddrUnix{Name: path}))
	assert.False(t, listens(path, os.Getpid()))

	require.NoError(t, unix.Listen(socket, 1))
	assert.True(t, listens(path, os.Getpid()))
	assert.False(t, listens(path, 0))
}

func TestProcessOf(t *testing.T) {
	directory := t.TempDir()
	assert.Equal(t, 0, processOf(directory))
	require.NoError(t, os.WriteFile(filepath.Join(directory, "state.json"), []byte(`{"id":"a","pid":17}`), 0o600))
	assert.Equal(t, 17, processOf(directory))
}

func TestLastWordsAreAwaited(t *testing.T) {
	child := exec.Command("sleep", "0.3")
	require.NoError(t, child.Start())
	directory := t.TempDir()
	state := fmt.Sprintf(`{"pid": %d}`, child.Process.Pid)
	require.NoError(t, os.WriteFile(filepath.Join(directory, "state.json"), []byte(state), 0o600))
	begin := time.Now()
	require.NoError(t, lastWords{directory}.Fire(nil)) // nobody has waited for the child: it is a zombie at the end
	assert.Greater(t, time.Since(begin), 300*time.Millisecond)
	assert.Less(t, time.Since(begin), 900*time.Millisecond)
	require.NoError(t, child.Wait())
	begin = time.Now()
	require.NoError(t, lastWords{t.TempDir()}.Fire(nil))
	assert.Less(t, time.Since(begin), 300*time.Millisecond)
}
