package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCreatedBundle(t *testing.T) {
	for line, bundle := range map[string]string{
		"urunc --root /r create --bundle /b --pid-file /p abc": "/b",
		"urunc create --bundle=/b abc":                         "/b",
		"urunc create -b /b abc":                               "/b",
		"urunc run abc":                                        ".",
		"urunc create --bundle /b abc --reexec":                "",
		"urunc start abc":                                      "",
	} {
		assert.Equal(t, bundle, createdBundle(strings.Fields(line)), line)
	}
}

func TestPrestartToCreateRuntime(t *testing.T) {
	for before, after := range map[string]string{
		`{"hooks":{"prestart":[{"path":"/a","args":["x","y"],"env":["E=1"]}],"createRuntime":[{"path":"/b"}]},"root":{"x":1}}`://
		`{"hooks":{"createRuntime":[{"path":"/u","args":["/u","exec-hook","/a","x","y"],"env":["E=1"]},{"path":"/b"}]},"root":{"x":1}}`,
		`{"hooks":{"poststop":[]}}`: `{"hooks":{"poststop":[]}}`,
		`{"root": null}`:            `{"root": null}`,
		`not JSON`:                  `not JSON`,
	} {
		path := filepath.Join(t.TempDir(), specConfig)
		require.NoError(t, os.WriteFile(path, []byte(before), 0o640))
		require.NoError(t, prestartToCreateRuntime(path, "/u"))
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, after, string(text))
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o640), info.Mode())
	}
	assert.NoError(t, prestartToCreateRuntime("/nowhere", "/u"))
}
