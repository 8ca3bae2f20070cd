// Package hypervisors, tsvmm: a monitor for x86-64 unikernels that needs no KVM.
//
// This file is all that urunc needs to know of tsvmm: it registers the monitor, builds its command line and ends it.
// It changes no line of urunc. Written for urunc v0.7.0.
package hypervisors

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urunc-dev/urunc/pkg/unikontainers/types"
	"github.com/urunc-dev/urunc/pkg/unikontainers/unikernels"
	"golang.org/x/sys/unix"
)

const (
	// TsvmmVmm is the value of the label com.urunc.unikernel.hypervisor, and the name of the section in config.toml.
	TsvmmVmm VmmType = "tsvmm"
	// TsvmmAlias is another spelling of the same.
	TsvmmAlias VmmType = "ts-vmm"
	// TsvmmBinary is looked up in PATH unless config.toml names a path.
	TsvmmBinary string = "tsvmm"
)

// How long tsvmm may take to end after SIGTERM. It needs about 100 ms; `docker stop` shall take less than a second.
const tsvmmGrace = 800 * time.Millisecond

// Tsvmm runs a guest by tsvmm, a monitor with QEMU's command line.
type Tsvmm struct {
	binaryPath string
}

func init() {
	factory := VMMFactory{binary: TsvmmBinary, createFunc: newTsvmm}
	vmmFactories[TsvmmVmm] = factory
	vmmFactories[TsvmmAlias] = factory
}

func newTsvmm(_, binaryPath string) types.VMM {
	// urunc itself would only say "no such file or directory". A container that is stopped or removed needs no monitor.
	if _, err := os.Stat(binaryPath); err != nil && slices.Contains(os.Args, "--reexec") {
		die(fmt.Errorf("tsvmm is not installed: %w", err))
	}
	return &Tsvmm{binaryPath: binaryPath}
}

// die ends the process that was to become the monitor. Its standard error is the container's, whose log shall hold this
// one line; an error that is returned gets lines of urunc's own beside it.
func die(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Ok is what urunc asks of every monitor; NewVMM has already found the binary.
func (t *Tsvmm) Ok() error {
	return nil
}

// Path is the binary on the host; urunc binds it to the same place in the monitor's root.
func (t *Tsvmm) Path() string {
	return t.binaryPath
}

// UsesKVM is false: /dev/kvm is neither asked for nor made.
func (t *Tsvmm) UsesKVM() bool {
	return false
}

// SupportsSharedfs tells which of "9p" and "virtio" (virtiofs) the guest's root can come by.
func (t *Tsvmm) SupportsSharedfs(fsType string) bool {
	return fsType == "9p"
}

// Execve replaces this process by tsvmm. It does not return: urunc has told Docker already that the monitor runs.
func (t *Tsvmm) Execve(args types.ExecArgs, ukernel types.Unikernel) error {
	err := t.execve(args, ukernel)
	die(err)
	return err
}

func (t *Tsvmm) execve(args types.ExecArgs, ukernel types.Unikernel) error {
	if args.Net.TapDev == "" {
		return tsvmmMissingTap()
	}
	argv := append([]string{t.binaryPath}, tsvmmArguments(args, ukernel)...)
	vmmLog.WithField("tsvmm command", argv).Debug("Ready to execve tsvmm")
	err := syscall.Exec(t.binaryPath, argv, args.Environment) //nolint: gosec
	return fmt.Errorf("cannot execute %s: %w", t.binaryPath, err)
}

// Stop ends the monitor with the process id pid.
//
// A unikernel knows no signals, but its monitor does: SIGKILL kills it, any other asks it to end, which it does with
// status 0, and kills it when it does not.
func (t *Tsvmm) Stop(pid int) error {
	signal := killSignal(os.Args)
	if signal != unix.SIGKILL {
		signal = unix.SIGTERM
	}
	err := syscall.Kill(pid, signal)
	if errors.Is(err, unix.ESRCH) {
		return nil // It is gone, and urunc has its tap still to remove.
	}
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(tsvmmGrace); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if !isAlive(pid) {
			return nil
		}
	}
	return killProcess(pid)
}

// killSignal finds the signal in `urunc … kill [--all] <id> [signal]`, as a number or a name with or without SIG. urunc
// v0.7.0 does not hand it on to Stop. Without one it is SIGTERM; `urunc delete --force` kills.
func killSignal(commandLine []string) syscall.Signal {
	for i, word := range commandLine {
		switch word {
		case "delete":
			return unix.SIGKILL
		case "kill":
			return lastSignal(commandLine[i+1:])
		}
	}
	return unix.SIGTERM
}

func lastSignal(words []string) syscall.Signal {
	operands := 0
	for _, word := range words {
		if strings.HasPrefix(word, "-") {
			continue
		}
		operands++
		if operands < 2 {
			continue // the container's id
		}
		if number, err := strconv.Atoi(word); err == nil {
			return syscall.Signal(number)
		}
		name := strings.ToUpper(word)
		if !strings.HasPrefix(name, "SIG") {
			name = "SIG" + name
		}
		if signal := unix.SignalNum(name); signal != 0 {
			return signal
		}
	}
	return unix.SIGTERM
}

// isAlive is false for a zombie too: that the shim has not waited for it yet is no reason to wait here.
func isAlive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil
	}
	// pid (name) state …, and the name may hold parentheses.
	text := string(stat)
	end := strings.LastIndex(text, ") ")
	return end < 0 || text[end+2] != 'Z'
}

// tsvmmArguments is the command line after the program's name.
func tsvmmArguments(args types.ExecArgs, ukernel types.Unikernel) []string {
	words := []string{
		"-m", strconv.FormatUint(tsvmmMemory(args.MemSizeB), 10) + "M",
		// The container's output is the guest's serial port, and nothing else.
		"-nodefaults", "-display", "none", "-serial", "stdio",
		// A guest that resets ends its container, so that a restart policy can act.
		"-no-reboot",
		// Nothing of ours in the container's files, nor anything that containers would share.
		"-accel", "tcg,tb-store=off",
	}
	if args.VCPUs > 1 {
		words = append(words, "-smp", strconv.FormatUint(uint64(args.VCPUs), 10))
	}
	if !args.Seccomp {
		words = append(words, "-sandbox", "off")
	}
	words = append(words, "-kernel", args.UnikernelPath)
	words = append(words, tsvmmNetwork(args.Net, ukernel)...)
	for _, block := range tsvmmBlocks(ukernel) {
		words = append(words,
			"-drive", fmt.Sprintf("format=raw,if=none,id=%s,file=%s", optionValue(block.ID), optionValue(block.Path)),
			"-device", fmt.Sprintf("virtio-blk-pci,serial=%s,drive=%s", optionValue(block.ID), optionValue(block.ID)))
	}
	if args.Sharedfs.Type == "9pfs" {
		words = append(words,
			"-fsdev", "local,id=rootfs9p,security_model=none,path="+optionValue(args.Sharedfs.Path),
			"-device", "virtio-9p-pci,fsdev=rootfs9p,mount_tag=fs0")
	}
	if initrd := tsvmmInitrd(args, ukernel); initrd != "" {
		words = append(words, "-initrd", initrd)
	}
	if _, isMewz := ukernel.(*unikernels.Mewz); isMewz {
		words = append(words, "-device", "isa-debug-exit,iobase=0x501,iosize=2")
	}
	return append(words, "-append", args.Command)
}

// tsvmmMemory is the guest's RAM in MiB: what the container may use, or else what config.toml says, or else 256.
func tsvmmMemory(bytes uint64) uint64 {
	if bytes == 0 {
		return DefaultMemory
	}
	return max(bytesToMiB(bytes), 1)
}

func tsvmmNetwork(params types.NetDevParams, ukernel types.Unikernel) []string {
	card := "virtio-net-pci,netdev=net0"
	if params.MAC != "" {
		card += ",mac=" + params.MAC
	}
	if _, isMewz := ukernel.(*unikernels.Mewz); isMewz {
		card += ",disable-legacy=on"
	}
	return []string{
		"-netdev", "tap,id=net0,script=no,downscript=no,ifname=" + optionValue(params.TapDev),
		"-device", card,
	}
}

// tsvmmMissingTap says why urunc made no tap: it looks for eth0 only, wants it for one guest alone, and goes on without.
// A guest that waits for a card that is not there says nothing of the kind, or nothing at all.
func tsvmmMissingTap() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	var names []string
	for _, one := range interfaces {
		isTap := strings.Contains(one.Name, "tap") // which urunc takes for another guest's, up or not
		if isTap || one.Flags&net.FlagUp != 0 && one.Flags&net.FlagLoopback == 0 {
			names = append(names, one.Name)
		}
	}
	slices.Sort(names)
	found := "no interface"
	if len(names) > 0 {
		found = strings.Join(names, ", ")
	}
	return fmt.Errorf("tsvmm: no tap for the guest: urunc needs an eth0 and no other guest, and this network has %s", found)
}

// tsvmmBlocks lists the disks. Guests name their disks only to monitors that they know, so those with disks are asked
// for what they keep.
func tsvmmBlocks(ukernel types.Unikernel) []types.MonitorBlockArgs {
	var blocks []types.MonitorBlockArgs
	add := func(id, path string) {
		if path != "" {
			blocks = append(blocks, types.MonitorBlockArgs{ID: id, Path: path})
		}
	}
	switch guest := ukernel.(type) {
	case *unikernels.Linux:
		for _, block := range guest.Blk {
			add(block.ID, block.Source)
		}
	case *unikernels.Mirage:
		for _, block := range guest.Block {
			add(block.ID, block.HostPath)
		}
	case *unikernels.Rumprun:
		add("rootfs", guest.Blk.HostPath)
	}
	return blocks
}

// tsvmmInitrd is the image's initrd, or the one that urunc makes for its own init in a Linux guest, which it offers only
// to monitors that it knows.
func tsvmmInitrd(args types.ExecArgs, ukernel types.Unikernel) string {
	if args.InitrdPath != "" {
		return args.InitrdPath
	}
	if guest, isLinux := ukernel.(*unikernels.Linux); isLinux {
		asQemu := *guest
		asQemu.Monitor = string(QemuVmm)
		return asQemu.MonitorCli().ExtraInitrd
	}
	return ""
}

// optionValue writes a comma twice, as QEMU's option grammar wants it inside a value.
func optionValue(text string) string {
	return strings.ReplaceAll(text, ",", ",,")
}
