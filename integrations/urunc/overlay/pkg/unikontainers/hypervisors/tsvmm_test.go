package hypervisors

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/urunc-dev/urunc/pkg/unikontainers/types"
	"github.com/urunc-dev/urunc/pkg/unikontainers/unikernels"
	"golang.org/x/sys/unix"
)

const oneGiB = 1 << 30

var eth0 = types.NetDevParams{
	IP: "172.17.0.2", Mask: "255.255.0.0", Gateway: "172.17.0.1", MAC: "02:42:ac:11:00:02", TapDev: "tap0_urunc",
}

// A guest as urunc has it when it asks the monitor to run.
func initialised(t *testing.T, kind string, params types.UnikernelParams) types.Unikernel {
	t.Helper()
	ukernel, err := unikernels.New(kind)
	require.NoError(t, err)
	params.Monitor = string(TsvmmVmm)
	if err := ukernel.Init(params); err != nil && !errors.Is(err, unikernels.ErrUndefinedVersion) {
		require.NoError(t, err)
	}
	return ukernel
}

// A program that tsvmm's label can find.
func installed(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), TsvmmBinary)
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755))
	t.Setenv("PATH", filepath.Dir(path))
	return path
}

func TestTsvmmIsRegisteredUnderBothNames(t *testing.T) {
	path := installed(t)
	for _, name := range []VmmType{"tsvmm", "ts-vmm"} {
		vmm, err := NewVMM(name, nil)
		require.NoError(t, err, name)
		assert.Equal(t, path, vmm.Path())
		assert.False(t, vmm.UsesKVM())
		assert.True(t, vmm.SupportsSharedfs("9p"))
		assert.False(t, vmm.SupportsSharedfs("virtio"))
		assert.NoError(t, vmm.Ok())
	}
}

func TestTsvmmPathOfConfigComesFirst(t *testing.T) {
	installed(t)
	vmm, err := NewVMM(TsvmmVmm, map[string]types.MonitorConfig{"tsvmm": {BinaryPath: "/opt/tsvmm"}})
	require.NoError(t, err)
	assert.Equal(t, "/opt/tsvmm", vmm.Path())
}

func TestTsvmmNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := NewVMM(TsvmmVmm, nil)
	assert.ErrorIs(t, err, ErrVMMNotInstalled)
}

func TestTsvmmUnikraftArguments(t *testing.T) {
	guest := initialised(t, "unikraft", types.UnikernelParams{
		CmdLine: []string{"-c", "/nginx.conf"}, EnvVars: []string{"A=1"}, Version: "0.16.3", Net: eth0,
	})
	command, err := guest.CommandString()
	require.NoError(t, err)
	words := tsvmmArguments(types.ExecArgs{
		Command: command, MemSizeB: 64 << 20, VCPUs: 1, Seccomp: true, UnikernelPath: "/unikernel/app", Net: eth0,
	}, guest)
	assert.Equal(t, []string{
		"-m", "64M", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-accel", "tcg,tb-store=off",
		"-kernel", "/unikernel/app",
		"-netdev", "tap,id=net0,script=no,downscript=no,ifname=tap0_urunc",
		"-device", "virtio-net-pci,netdev=net0,mac=02:42:ac:11:00:02",
		"-append", command,
	}, words)
	assert.Contains(t, command, "netdev.ip=172.17.0.2/24:172.17.0.1:8.8.8.8")
}

func TestTsvmmMemory(t *testing.T) {
	for bytes, words := range map[uint64]string{
		0: "256M", 1: "1M", 64 << 20: "64M", 268_435_457: "256M", 3 * oneGiB: "3072M",
	} {
		assert.Equal(t, words, argumentOf(t, "-m", types.ExecArgs{MemSizeB: bytes}, &unikernels.Unikraft{}))
	}
}

func TestTsvmmManyCPUsAndNoSeccomp(t *testing.T) {
	words := tsvmmArguments(types.ExecArgs{VCPUs: 4}, &unikernels.Unikraft{})
	assert.Subset(t, words, []string{"-smp", "4", "-sandbox", "off"})
	words = tsvmmArguments(types.ExecArgs{VCPUs: 1, Seccomp: true}, &unikernels.Unikraft{})
	assert.NotContains(t, words, "-smp")
	assert.NotContains(t, words, "-sandbox")
}

func TestTsvmmWithoutNetwork(t *testing.T) {
	err := (&Tsvmm{binaryPath: "/bin/true"}).execve(types.ExecArgs{}, &unikernels.Unikraft{})
	assert.ErrorContains(t, err, "tsvmm: no tap for the guest: urunc needs an eth0 and no other guest, and this network has ")
}

func TestTsvmmMewzGetsAModernCardAndItsExitPort(t *testing.T) {
	guest := initialised(t, "mewz", types.UnikernelParams{Net: eth0})
	words := strings.Join(tsvmmArguments(types.ExecArgs{Net: eth0}, guest), " ")
	assert.Contains(t, words, "-device virtio-net-pci,netdev=net0,mac=02:42:ac:11:00:02,disable-legacy=on")
	assert.Contains(t, words, "-device isa-debug-exit,iobase=0x501,iosize=2")
}

func TestTsvmmLinuxDisksAndInitrd(t *testing.T) {
	root := t.TempDir()
	guest := initialised(t, "linux", types.UnikernelParams{
		CmdLine: []string{"/urunit", "/bin/app"},
		Block:   []types.BlockDevParams{{ID: "rootfs", Source: "/dev/dm-1"}, {ID: "vol", Source: "/a,b.img"}},
		Rootfs:  types.RootfsParams{Type: "block", MonRootfs: root},
	})
	words := strings.Join(tsvmmArguments(types.ExecArgs{}, guest), " ")
	assert.Contains(t, words, "-drive format=raw,if=none,id=rootfs,file=/dev/dm-1 -device virtio-blk-pci,serial=rootfs,drive=rootfs")
	assert.Contains(t, words, "file=/a,,b.img")
	assert.Contains(t, words, "-initrd /urunit.conf")
	assert.Equal(t, string(TsvmmVmm), guest.(*unikernels.Linux).Monitor, "the guest itself is left as it was")
}

func TestTsvmmMirageDisk(t *testing.T) {
	guest := initialised(t, "mirage", types.UnikernelParams{Block: []types.BlockDevParams{{ID: "vol", Source: "/d.img"}}})
	assert.Equal(t, "format=raw,if=none,id=vol,file=/d.img", argumentOf(t, "-drive", types.ExecArgs{}, guest))
}

func TestTsvmmRumprunDisk(t *testing.T) {
	guest := initialised(t, "rumprun", types.UnikernelParams{Block: []types.BlockDevParams{{Source: "/dev/dm-2"}}})
	assert.Equal(t, "format=raw,if=none,id=rootfs,file=/dev/dm-2", argumentOf(t, "-drive", types.ExecArgs{}, guest))
}

func TestTsvmm9p(t *testing.T) {
	args := types.ExecArgs{Sharedfs: types.SharedfsParams{Type: "9pfs", Path: "/cntrRootfs"}}
	assert.Equal(t, "local,id=rootfs9p,security_model=none,path=/cntrRootfs", argumentOf(t, "-fsdev", args, &unikernels.Unikraft{}))
}

func TestTsvmmExecveSaysWhatIsWrong(t *testing.T) {
	err := (&Tsvmm{binaryPath: "/nowhere/tsvmm"}).execve(types.ExecArgs{Net: eth0}, &unikernels.Unikraft{})
	assert.EqualError(t, err, "cannot execute /nowhere/tsvmm: no such file or directory")
}

func TestTsvmmSignalOfCommandLine(t *testing.T) {
	for line, signal := range map[string]syscall.Signal{
		"urunc --root /r kill --all abc 9":  unix.SIGKILL,
		"urunc kill abc KILL":               unix.SIGKILL,
		"urunc kill abc SIGKILL":            unix.SIGKILL,
		"urunc kill abc sigterm":            unix.SIGTERM,
		"urunc kill abc 2":                  unix.SIGINT,
		"urunc kill abc":                    unix.SIGTERM,
		"urunc kill 9":                      unix.SIGTERM,
		"urunc delete --force abc":          unix.SIGKILL,
		"urunc --root /run/urunc start abc": unix.SIGTERM,
	} {
		assert.Equal(t, signal, killSignal(strings.Fields(line)), line)
	}
}

// started runs a shell script that prints a line when it is ready, and is waited for as the shim does it.
func started(t *testing.T, script string) (pid int, ended chan error) {
	t.Helper()
	command := exec.Command("/bin/sh", "-c", script)
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	_, err = output.Read(make([]byte, 1))
	require.NoError(t, err)
	ended = make(chan error, 1)
	go func() { ended <- command.Wait() }()
	return command.Process.Pid, ended
}

func TestTsvmmStopAsks(t *testing.T) {
	pid, ended := started(t, `trap 'exit 0' TERM; echo; while :; do sleep 0.01; done`)
	begin := time.Now()
	require.NoError(t, (&Tsvmm{}).Stop(pid))
	assert.Less(t, time.Since(begin), tsvmmGrace)
	assert.NoError(t, <-ended, "status 0")
}

func TestTsvmmStopKillsWhatDoesNotListen(t *testing.T) {
	pid, ended := started(t, `trap '' TERM; echo; while :; do sleep 0.01; done`)
	require.NoError(t, (&Tsvmm{}).Stop(pid))
	assert.EqualError(t, <-ended, "signal: killed")
}

func TestTsvmmStopOfWhatIsGone(t *testing.T) {
	pid, ended := started(t, `echo`)
	require.NoError(t, <-ended)
	assert.NoError(t, (&Tsvmm{}).Stop(pid))
}

func argumentOf(t *testing.T, option string, args types.ExecArgs, ukernel types.Unikernel) string {
	t.Helper()
	words := tsvmmArguments(args, ukernel)
	for i, word := range words {
		if word == option {
			return words[i+1]
		}
	}
	require.Fail(t, "no "+option, "%q", words)
	return ""
}
