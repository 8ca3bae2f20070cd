import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../vmm/errors.ts';
import type { DeviceConfig, MachineConfig } from '../../vmm/options/config.ts';
import { helpText } from '../../vmm/options/help.ts';
import { parseArguments } from '../../vmm/options/parse.ts';
import { OPTION_TABLE } from '../../vmm/options/table.ts';

const MIB = 2 ** 20;

function configOf(argv: readonly string[]): MachineConfig {
  const command = parseArguments(argv);
  if (command.kind !== 'run') {
    throw new Error(`not a machine: ${command.kind}`);
  }
  return command.config;
}

/** The words of a line; `<…>` stands for one word with spaces. */
function words(line: string): string[] {
  return (line.match(/<[^>]*>|\S+/g) ?? []).map((word) => (word.startsWith('<') ? word.slice(1, -1) : word));
}

const run = (line: string) => configOf(['-kernel', 'k', ...words(line)]);
const errorOf = (line: string): string => {
  try {
    configOf(['-kernel', 'k', ...words(line)]);
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    const { message } = error as Error;
    expect(message).not.toContain('\n');
    return message;
  }
  throw new Error(`accepted: ${line}`);
};

describe('argv as urunc builds it', () => {
  const append =
    'Unikraft env.vars=[ A=1 ] netdev.ip=10.0.0.2/24:10.0.0.1:8.8.8.8   vfs.fstab=[ "initrd0:/:extract:::" ] -- -c /nginx/conf/nginx.conf';

  test('v0.5, with a tap, a disk and an initrd', () => {
    const config = configOf([
      ...words('-m 268M -L /usr/share/qemu -cpu host -enable-kvm -nographic -vga none'),
      ...words('--sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'),
      '',
      ...words('-kernel /unikernel/nginx -net nic,model=virtio,macaddr=52:54:00:aa:bb:cc'),
      ...words('-net tap,script=no,downscript=no,ifname=tap0_urunc'),
      ...words('-device virtio-blk-pci,id=blk0,drive=hd0,scsi=off -drive format=raw,if=none,id=hd0,file=/disk.img'),
      '',
      ...words('-initrd /initrd.cpio -append'),
      append,
    ]);
    expect(config).toMatchObject({
      ramSize: 268 * MIB,
      kernel: '/unikernel/nginx',
      initrd: '/initrd.cpio',
      append,
      vga: false,
      characters: [{ kind: 'stdio', mux: true, id: 'serial0' }],
      serials: ['serial0'],
      monitors: ['serial0'],
      warnings: [],
      drives: [{ id: 'hd0', file: '/disk.img', readonly: false, writeback: true, flush: true, discard: false }],
    });
    expect(config.netdevs).toEqual([{ id: '#net0', type: 'tap', ifname: 'tap0_urunc', fd: undefined }]);
    expect(config.devices).toMatchObject([
      { model: 'virtio-blk', id: 'blk0', drive: 'hd0' },
      { model: 'virtio-net', netdev: '#net0', mac: '52:54:00:aa:bb:cc', disableLegacy: false, disableModern: false },
    ]);
  });

  test('v0.5, without a network', () => {
    const config = configOf([
      ...words('-m 256M -L /usr/share/qemu -cpu host -enable-kvm -nographic -vga none -kernel k -nic none -append'),
      'x',
    ]);
    expect(config.devices).toEqual([]);
    expect(config.netdevs).toEqual([]);
  });

  test('v0.8, a tap with vhost, disks and QMP', () => {
    const config = configOf([
      ...words('-m 268M -L /usr/share/qemu -cpu host -enable-kvm -display none -vga none -serial stdio -monitor null'),
      ...words('-qmp unix:/tmp/qmp.sock,server,nowait -smp 1 -kernel /cntrRootfs/unikraft/bin/kernel'),
      ...words('-netdev tap,id=net0,script=no,downscript=no,ifname=tap0_urunc,vhost=on'),
      ...words('-device virtio-net-pci,netdev=net0,host_mtu=1500,mac=0a:0b:0c:0d:0e:0f'),
      ...words('-device virtio-blk-pci,serial=FC1,drive=FC1,scsi=off -drive format=raw,if=none,id=FC1,file=/a'),
      ...words(
        '-device virtio-blk-pci,serial=FC2,drive=FC2 -drive format=raw,if=none,id=FC2,file=/b -initrd /i -append',
      ),
      append,
    ]);
    expect(config.serials).toEqual(['serial0']);
    expect(config.monitors).toEqual(['monitor0']);
    expect(config.characters).toEqual([
      { id: 'serial0', kind: 'stdio', mux: false, signals: true },
      { id: 'monitor0', kind: 'null', mux: false },
      {
        id: 'compat_monitor0',
        kind: 'socket',
        mux: false,
        name: 'unix:/tmp/qmp.sock',
        address: { path: '/tmp/qmp.sock' },
        server: true,
        wait: false,
      },
    ]);
    expect(config.qmps).toEqual(['compat_monitor0']);
    expect(config.devices).toMatchObject([
      { model: 'virtio-net', netdev: 'net0', hostMtu: 1500, mac: '0a:0b:0c:0d:0e:0f' },
      { model: 'virtio-blk', drive: 'FC1', serial: 'FC1' },
      { model: 'virtio-blk', drive: 'FC2', serial: 'FC2' },
    ]);
  });

  test('v0.8, shared file systems and vsock: understood, and left to the machine to refuse', () => {
    const config = run(
      '-fsdev local,id=rootfs9p,security_model=none,multidevs=remap,path=/rootfs -device virtio-9p-pci,fsdev=rootfs9p,mount_tag=fs0 -device vhost-vsock-pci,id=vhost-vsock-pci0,guest-cid=3',
    );
    expect(config.devices).toMatchObject([
      { model: 'virtio-9p', fsdev: 'rootfs9p', mountTag: 'fs0' },
      { model: 'unsupported', name: 'vhost-vsock-pci' },
    ]);
  });

  test('v0.8, Linux guests and Mewz', () => {
    const config = run(
      '-display none -vga none -serial stdio -monitor null -netdev tap,id=net0,script=no,downscript=no,ifname=tap0_urunc -device virtio-net-pci,netdev=net0,disable-legacy=on,disable-modern=off -no-reboot -nodefaults -device isa-debug-exit,iobase=0x501,iosize=2',
    );
    expect(config).toMatchObject({ noReboot: true, vga: false });
    expect(config.devices).toMatchObject([
      { model: 'virtio-net', disableLegacy: true, disableModern: false, mac: '52:54:00:12:34:56' },
      { model: 'isa-debug-exit', iobase: 0x501, iosize: 2 },
    ]);
  });
});

describe('console', () => {
  const console = (line: string) => {
    const { characters, serials, monitors } = run(line);
    const kinds = new Map(characters.map(({ id, kind, mux }) => [id, mux ? `mon:${kind}` : kind]));
    return [serials.map((id) => id && kinds.get(id)), monitors.map((id) => kinds.get(id))];
  };

  test.each([
    ['', [['mon:stdio'], ['mon:stdio']]],
    ['-nographic', [['mon:stdio'], ['mon:stdio']]],
    ['-nographic -monitor none', [['stdio'], []]],
    ['-nographic -serial null', [['null'], ['stdio']]],
    ['-nographic -serial mon:stdio', [['mon:stdio'], ['mon:stdio']]],
    ['-nographic -nodefaults', [[], []]],
    ['-display none', [['null'], []]],
    ['-display none -serial stdio', [['stdio'], []]],
    ['-serial stdio -monitor null', [['stdio'], ['null']]],
    ['-serial none -serial file:/x', [[undefined, 'file'], []]],
    ['-nodefaults -chardev stdio,id=c,mux=on -serial chardev:c -mon chardev=c', [['mon:stdio'], ['mon:stdio']]],
    ['-nodefaults -serial unix:/tmp/s,server,nowait', [['socket'], []]],
  ])('%s', (line, expected) => {
    expect(console(line)).toEqual(expected);
  });

  test('unix sockets and files in detail', () => {
    expect(run('-nodefaults -serial unix:/tmp/s,server=on,wait=off').characters).toEqual([
      {
        id: 'serial0',
        mux: false,
        kind: 'socket',
        name: 'unix:/tmp/s',
        address: { path: '/tmp/s' },
        server: true,
        wait: false,
      },
    ]);
    expect(run('-nodefaults -serial unix:/tmp/s,server').characters).toMatchObject([{ server: true, wait: true }]);
    expect(run('-nodefaults -chardev file,id=f,path=/a,,b,append=on').characters).toEqual([
      { id: 'f', mux: false, kind: 'file', path: '/a,b', append: true },
    ]);
  });

  test('monitors for people and for programs, on sockets of both kinds', () => {
    const config = run('-qmp tcp:127.0.0.1:4444,server,nowait -monitor tcp::5555,server=on,wait=off');
    expect([config.qmps, config.monitors]).toEqual([['compat_monitor0'], ['monitor0']]);
    expect(config.characters.slice(0, 2)).toMatchObject([
      { kind: 'socket', address: { host: '127.0.0.1', port: 4444 }, server: true, wait: false },
      { kind: 'socket', address: { host: '0.0.0.0', port: 5555 }, server: true, wait: false },
    ]);
    const chardev = run('-chardev socket,id=c,host=::1,port=7,server=on,wait=off -mon chardev=c,mode=control');
    expect(chardev.qmps).toEqual(['c']);
    expect(chardev.characters[0]).toMatchObject({ address: { host: '::1', port: 7 } });
  });

  test.each([
    ['', 'try'],
    ['-sandbox on', 'on'],
    ['--sandbox on,obsolete=deny,elevateprivileges=children,spawn=allow,resourcecontrol=deny', 'on'],
    ['-sandbox off', 'off'],
  ])('%s', (line, sandbox) => {
    expect(run(line).sandbox).toBe(sandbox);
  });

  test('isa-debugcon stands on a chardev or a short form', () => {
    const short = run('-nodefaults -debugcon stdio');
    expect(short.devices).toEqual([{ model: 'isa-debugcon', iobase: 0xe9, character: 'debugcon' }]);
    const long = run('-nodefaults -chardev null,id=d -device isa-debugcon,iobase=0x402,chardev=d');
    expect(long.devices).toMatchObject([{ model: 'isa-debugcon', iobase: 0x402, character: 'd' }]);
  });
});

describe('network', () => {
  test('user networking: what it means is for the back end to say', () => {
    const [netdev] = run(
      '-netdev user,id=n,net=10.0.3.0/24,host=10.0.3.2,restrict=on,hostfwd=tcp::8080-:80,hostfwd=udp:127.0.0.1:53-10.0.3.15:5353',
    ).netdevs;
    expect(netdev).toEqual({
      id: 'n',
      type: 'user',
      properties: [
        ['net', '10.0.3.0/24'],
        ['host', '10.0.3.2'],
        ['restrict', 'on'],
        ['hostfwd', 'tcp::8080-:80'],
        ['hostfwd', 'udp:127.0.0.1:53-10.0.3.15:5353'],
      ],
    });
  });

  test('-nic: back end and card in one', () => {
    const config = run('-nic user,model=virtio-net-pci,mac=52:54:00:00:00:01 -nic tap,ifname=t0');
    expect(config.netdevs).toMatchObject([{ type: 'user' }, { type: 'tap', ifname: 't0' }]);
    expect(config.devices).toMatchObject([
      { model: 'virtio-net', netdev: config.netdevs[0].id, mac: '52:54:00:00:00:01' },
      { model: 'virtio-net', netdev: config.netdevs[1].id, mac: '52:54:00:12:34:56' },
    ]);
  });

  test('-net: cards and back ends pair up in order', () => {
    const config = run('-net tap,ifname=a -net nic -net nic,model=virtio -net user');
    expect(config.devices.map((device) => device.model === 'virtio-net' && [device.netdev, device.mac])).toEqual([
      [config.netdevs[0].id, '52:54:00:12:34:56'],
      [config.netdevs[1].id, '52:54:00:12:34:57'],
    ]);
    expect(run('-net nic').devices).toMatchObject([{ netdev: undefined }]);
    expect(run('-net user').warnings).toHaveLength(1);
  });

  test('stream and filter-dump', () => {
    const config = run(
      '-netdev stream,id=s,addr.type=unix,addr.path=/tmp/passt,server=off -device virtio-net-pci,netdev=s -object filter-dump,id=f,netdev=s,file=/tmp/x.pcap,maxlen=128',
    );
    expect(config.netdevs).toEqual([{ id: 's', type: 'stream', path: '/tmp/passt', server: false }]);
    expect(config.filterDumps).toEqual([{ id: 'f', netdev: 's', file: '/tmp/x.pcap', maxlen: 128 }]);
  });

  test('a MAC that was given is not given again', () => {
    const macs = run('-net nic -net nic,macaddr=52:54:00:12:34:56').devices.map(
      (device) => 'mac' in device && device.mac,
    );
    expect(macs).toEqual(['52:54:00:12:34:57', '52:54:00:12:34:56']);
  });
});

describe('the rest', () => {
  test('defaults', () => {
    expect(run('')).toMatchObject({
      machine: 'pc',
      ramSize: 128 * MIB,
      cpus: 1,
      append: '',
      vga: true,
      rtcBase: 'utc',
      accelerator: { jit: 'wasm', hot: undefined, codeCache: undefined },
      noReboot: false,
      noShutdown: false,
      startStopped: false,
      log: [],
      devices: [],
    });
  });

  test.each([
    ['-m 64', 64],
    ['-m size=96M', 96],
    ['-m 1G', 1024],
    ['-m 65536k', 64],
    ['-m 3072M', 3072],
  ])('%s is %d MiB', (line, mib) => {
    expect(run(line).ramSize).toBe(mib * MIB);
  });

  test('one dash or two, and the last one counts', () => {
    expect(
      run('--no-reboot -no-shutdown -S -m 32 --m 64 -accel tcg,jit=off -icount shift=3 -rtc base=2006-06-17'),
    ).toMatchObject({
      noReboot: true,
      noShutdown: true,
      startStopped: true,
      ramSize: 64 * MIB,
      accelerator: { jit: 'off' },
      icountShift: 3,
      rtcBase: '2006-06-17',
    });
    expect(
      run('-M microvm,accel=kvm:tcg -accel jit=off -d stats -D /tmp/log -name guest=x,debug-threads=on'),
    ).toMatchObject({
      machine: 'microvm',
      accelerator: { jit: 'off' },
      log: ['stats'],
      logFile: '/tmp/log',
      name: 'x',
    });
  });

  test('when code is translated, and how much of that is kept', () => {
    expect(run('-accel tcg,jit=js,hot=1,tb-size=64k').accelerator).toEqual({ jit: 'js', hot: 1, codeCache: 65536 });
    // As QEMU has it: MiB, 0 for the default.
    expect(run('-accel tcg,tb-size=2').accelerator.codeCache).toBe(2 * MIB);
    expect(run('-accel tcg,tb-size=2 -accel tcg,tb-size=0').accelerator.codeCache).toBeUndefined();
    expect(run('-accel tcg,hot=5 -accel jit=off').accelerator).toMatchObject({ jit: 'off', hot: 5 });
  });

  test('more CPUs than there are: one, and a warning', () => {
    expect(run('-smp cores=2,threads=2')).toMatchObject({
      cpus: 1,
      warnings: ['-smp cores=2,threads=2: this version runs one CPU'],
    });
    expect(run('-smp 1').warnings).toEqual([]);
  });

  test('a drive with if=virtio brings its device', () => {
    const config = run('-drive file=/a,if=virtio,format=raw,readonly=on');
    expect(config.drives).toMatchObject([{ id: '#drive0', file: '/a', readonly: true }]);
    expect(config.devices).toMatchObject([{ model: 'virtio-blk', drive: '#drive0' }]);
  });

  test.each([
    ['', true, true],
    ['cache=writeback', true, true],
    ['cache=none', true, true],
    ['cache=writethrough', false, true],
    ['cache=directsync', false, true],
    ['cache=unsafe', true, false],
    ['cache.writeback=off,cache.direct=on,cache.no-flush=on', false, false],
  ])('-drive %s', (mode, writeback, flush) => {
    expect(run(`-drive file=/a,if=virtio,${mode}`).drives).toMatchObject([{ writeback, flush }]);
  });

  test('a shared directory, in two options or one', () => {
    const apart = run(
      '-device virtio-9p-pci,fsdev=f,mount_tag=t -fsdev local,id=f,path=/a,security_model=none,readonly=on',
    );
    expect(apart.devices).toMatchObject([{ model: 'virtio-9p', fsdev: 'f', mountTag: 't' }]);
    expect(apart.fsdevs).toEqual([{ id: 'f', path: '/a', readonly: true, oneDevice: false }]);
    const inOne = run('-virtfs local,path=/a,mount_tag=t,security_model=passthrough,multidevs=forbid');
    expect(inOne.devices).toMatchObject([{ model: 'virtio-9p', mountTag: 't' }]);
    expect(inOne.fsdevs).toMatchObject([{ path: '/a', oneDevice: true }]);
  });

  test('properties of a disk', () => {
    const disk =
      'virtio-blk-pci,drive=d,write-cache=off,config-wce=off,logical_block_size=4096,physical_block_size=8192';
    const config = run(`-device ${disk} -drive file=/a,if=none,id=d,discard=unmap`);
    expect(config.devices).toMatchObject([
      { writeCache: false, configWce: false, logicalBlockSize: 4096, physicalBlockSize: 8192 },
    ]);
    expect(config.drives).toMatchObject([{ discard: true }]);
  });

  test.each(['-h', '--help', '-help'])('%s', (word) => {
    expect(parseArguments(['-m', '64', word])).toEqual({ kind: 'help' });
  });

  test.each(['-version', '--version'])('%s', (word) => {
    expect(parseArguments([word, 'ignored'])).toEqual({ kind: 'version' });
  });

  test.each(['-device', '-machine', '-M', '-cpu', '-d'])('%s help prints a list', (option) => {
    const command = parseArguments([option, 'help']);
    expect(command.kind === 'text' && command.text.endsWith('\n')).toBe(true);
  });

  test('-help names every option of the table', () => {
    const text = helpText();
    for (const name of OPTION_TABLE.flatMap(({ options }) => options.flatMap((spec) => spec.names))) {
      expect(text).toMatch(new RegExp(`-${name}[, \\n]`));
    }
    expect(text.split('\n').filter((line) => line.length > 110)).toEqual([]);
  });
});

describe('errors: one line that names the option', () => {
  test.each([
    ['-foo', '-foo: invalid option; -help lists them all'],
    ['bogus', "'bogus': not an option; a kernel is given by -kernel, a disk by -drive"],
    ['-append', '-append: requires an argument'],
    ['-m abc', /^-m abc: Parameter 'size' expects a number/],
    ['-m 268M,foo=1', "-m 268M,foo=1: Invalid parameter 'foo'"],
    ['-m 5G', /from 2M to 3072M/],
    ['-m 1', /from 2M to 3072M/],
    ['-m 99999999999999999999999', /from 2M to 3072M/],
    ['-m 64,slots=2,maxmem=1G', /cannot be plugged/],
    ['-smp 0', /expects a number from 1 to 255/],
    ['-smp abc', /'cpus' expects/],
    ['-M q35', /unsupported machine type 'q35'/],
    ['-accel hvf', /invalid accelerator hvf/],
    ['-accel tcg,hot=0', /'hot' expects a number from 1 to/],
    ['-accel tcg,tb-size=much', /'tb-size' expects/],
    ['-accel tcg,jit=llvm', /'jit' does not accept value 'llvm'/],
    ['-icount auto', /'shift' expects/],
    ['-rtc base=foo', /invalid datetime format 'foo'/],
    ['-display gtk', /no graphical display/],
    ['-vga qxl', /unknown vga type/],
    ['-d foo', /unknown log item 'foo'/],
    ['-serial foo', /'foo' is not a valid char driver/],
    ['-serial pty', /'pty' is not a valid char driver/],
    ['-serial stdio -monitor stdio', /cannot use stdio by multiple/],
    ['-serial chardev:x', /no -chardev with id 'x'/],
    [`-serial unix:/${'x'.repeat(108)}`, /longer than 107/],
    ['-serial null -serial null -serial null -serial null -serial null', /four COM ports/],
    ['-chardev stdio', /'id' is missing/],
    ['-chardev null,id=serial0 -serial null', "-serial null: Duplicate ID 'serial0' for chardev"],
    ['-mon chardev=x', /chardev 'x' not found/],
    ['-netdev tap,id=a,ifname=t,foo=1', "-netdev tap,id=a,ifname=t,foo=1: Invalid parameter 'foo'"],
    ['-netdev tap,id=a,ifname=t,script=/etc/qemu-ifup', /scripts are not run/],
    ['-netdev tap,id=a,ifname=t,queues=2', /one queue/],
    ['-netdev tap,id=a', /ifname=tap0/],
    ['-netdev user', /'id' is missing/],
    ['-netdev user,id=3', /'id' expects a letter/],
    ['-netdev l2tpv3,id=a', /'type' does not accept value 'l2tpv3'/],
    ['-netdev user,id=a -netdev user,id=a', "-netdev user,id=a: Duplicate ID 'a' for netdev"],
    ['-netdev stream,id=a,addr.type=inet', /does not accept value 'inet'/],
    ['-nic user,model=e1000', /Unsupported NIC model: e1000/],
    ['-net nic,macaddr=1:2:3', /expects a MAC address/],
    ['-net nic,macaddr=01:00:00:00:00:01', /multicast/],
    ['-device nosuch', /'nosuch' is not a valid device model name/],
    ['-device constructor', /not a valid device model name/],
    ['-device virtio-net-pci,netdev=zz', /there is no netdev 'zz'/],
    ['-device virtio-net-pci,foo=1', /Invalid parameter 'foo'/],
    ['-device virtio-net-pci,disable-legacy=on,disable-modern=on', /neither modern nor legacy/],
    ['-netdev user,id=a -device virtio-net-pci,netdev=a -device virtio-net-pci,netdev=a', /already in use/],
    ['-device virtio-net-device', /no virtio-mmio bus/],
    ['-M microvm -device virtio-net-pci', /microvm has no PCI/],
    ['-device virtio-blk-pci,drive=d', /there is no drive 'd'/],
    ['-device virtio-blk-pci', /'drive' is missing/],
    ['-drive file=/a', /no IDE/],
    ['-device virtio-9p-pci,fsdev=f,mount_tag=t', /couldn't find fsdev with the id = f/],
    ['-device virtio-9p-pci,fsdev=f', /'mount_tag' is missing/],
    ['-fsdev local,id=f,path=/', /security_model not specified/],
    ['-fsdev local,id=f,path=/,security_model=mapped-xattr', /invalid security_model/],
    ['-sandbox maybe', /'enable' expects 'on' or 'off'/],
    ['-sandbox on,spawn=perhaps', /'spawn' does not accept value 'perhaps'/],
    ['-fsdev synth,id=f', /fsdriver synth is not supported/],
    ['-virtfs local,path=/,security_model=none,mount_tag=01234567890123456789012345678901', /1 to 31 bytes/],
    ['-drive file=/a,if=virtio,cache=fast', /'cache' does not accept value 'fast'/],
    ['-device virtio-blk-pci,drive=d,logical_block_size=1000', /not a power of 2/],
    ['-device virtio-blk-pci,drive=d,logical_block_size=4096,physical_block_size=1024', /> physical_block_size/],
    ['-drive file=/a,if=none,format=qcow2', /only raw images/],
    ['-drive if=none', /'file' is missing/],
    ['-object secret,id=s', /invalid object type: secret/],
    ['-object filter-dump,id=f,netdev=n,file=/x', /there is no netdev 'n'/],
    ['-device virtio-rng-pci,rng=r', /rng object 'r' not found/],
    ['-device isa-debug-exit,iobase=0x10000', /from 0 to 65535/],
  ])('%s', (line, message) => {
    if (typeof message === 'string') {
      expect(errorOf(line)).toBe(message);
    } else {
      expect(errorOf(line)).toMatch(message);
    }
  });

  test('no kernel', () => {
    expect(() => parseArguments(['-m', '64'])).toThrow(/no kernel given/);
  });

  test('any words are a command or a UserError of one line', () => {
    const names = OPTION_TABLE.flatMap(({ options }) =>
      options.flatMap((spec) => spec.names.map((name) => `-${name}`)),
    );
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom(
        'user,id=a',
        'tap',
        'stdio',
        'mon:stdio',
        'virtio-net-pci',
        'id=x,,=,',
        '64M',
        'help',
        ',',
        '=',
        'a=b,nowait',
      ),
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...names), value), { maxLength: 12 }), (argv) => {
        try {
          parseArguments(argv);
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  test('the machine of any accepted line refers only to what it holds', () => {
    const option = fc.constantFrom(
      '-netdev user,id=a',
      '-netdev user,id=b',
      '-device virtio-net-pci,netdev=a',
      '-device virtio-net-pci,netdev=b',
      '-device virtio-net-pci',
      '-nic user',
      '-net nic',
      '-net user',
      '-drive file=/x,if=none,id=d',
      '-drive file=/x,if=virtio',
      '-device virtio-blk-pci,drive=d',
      '-serial null',
      '-serial stdio',
      '-serial none',
      '-monitor stdio',
      '-nographic',
      '-nodefaults',
    );
    fc.assert(
      fc.property(fc.array(option, { maxLength: 8 }), (lines) => {
        let config: MachineConfig;
        try {
          config = run(lines.join(' '));
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
          return;
        }
        const characters = new Set(config.characters.map(({ id }) => id));
        expect(characters.size).toBe(config.characters.length);
        for (const id of [...config.serials, ...config.monitors]) {
          expect(id === undefined || characters.has(id)).toBe(true);
        }
        const cards = config.devices.filter(
          (d): d is DeviceConfig & { model: 'virtio-net' } => d.model === 'virtio-net',
        );
        const plugged = cards.flatMap(({ netdev }) => netdev ?? []);
        expect(new Set(plugged).size).toBe(plugged.length);
        expect(new Set(cards.map(({ mac }) => mac)).size).toBe(cards.length);
        expect(plugged.every((id) => config.netdevs.some((netdev) => netdev.id === id))).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});
