package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
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
