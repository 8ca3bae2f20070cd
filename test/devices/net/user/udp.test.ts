import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { afterEach, describe, expect, it } from 'vitest';
import { parseUserOptions } from '../../../../devices/net/user/options.ts';
import { parseResolvConf } from '../../../../devices/net/user/resolver.ts';
import { UserBackend } from '../../../../devices/net/user.ts';
import { arp, BROADCAST, dhcp, ethernet, internetChecksum, ipBytes, ipText, ipv4, parseDhcp, udp } from '../frames.ts';
import { GATEWAY, GUEST_IP, GUEST_MAC, NAME_SERVER, TestGuest } from './test-guest.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

async function makeGuest(options: [string, string][] = [], resolverPort = 53) {
  const backend = await UserBackend.open(parseUserOptions(options), { address: '127.0.0.1', port: resolverPort });
  cleanups.push(() => backend.close());
  return { backend, guest: new TestGuest(backend) };
}

async function bind(onMessage?: (socket: Socket, payload: Buffer, port: number) => void): Promise<Socket> {
  const socket = createSocket('udp4');
  if (onMessage) socket.on('message', (payload, { port }) => onMessage(socket, payload, port));
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  cleanups.push(() => socket.close());
  return socket;
}

const isUdp = (frame: Buffer) => frame.readUInt16BE(12) === 0x0800 && frame[23] === 17;
const isIcmp = (frame: Buffer) => frame.readUInt16BE(12) === 0x0800 && frame[23] === 1;

/** The datagram in a frame, with its checksums checked. */
function parseUdp(frame: Buffer) {
  const message = frame.subarray(34, 34 + frame.readUInt16BE(38));
  const pseudo = Buffer.concat([frame.subarray(26, 34), Buffer.from([0, 17]), message.subarray(4, 6)]);
  expect(internetChecksum(frame.subarray(14, 34))).toBe(0);
  expect(internetChecksum(pseudo, message)).toBe(0);
  return {
    from: ipText(frame.subarray(26, 30)),
    fromPort: message.readUInt16BE(0),
    to: ipText(frame.subarray(30, 34)),
    toPort: message.readUInt16BE(2),
    payload: message.subarray(8),
  };
}

async function oneFrame(guest: TestGuest, wanted: (frame: Buffer) => boolean): Promise<Buffer> {
  let found: Buffer | undefined;
  await guest.until(() => (found = guest.frames.find(wanted)) !== undefined, 'a frame');
  guest.frames.length = 0;
  return found as unknown as Buffer;
}

describe('ARP', () => {
  it("answers for the gateway and the name server, and for nobody else's address", async () => {
    const { guest } = await makeGuest();
    for (const address of [GATEWAY, NAME_SERVER, '10.0.2.15', '10.0.2.77', '192.0.2.1']) {
      const question = arp(1, GUEST_MAC, GUEST_IP, '00:00:00:00:00:00', address);
      guest.buffers.send(ethernet(BROADCAST, GUEST_MAC, 0x0806, question));
    }
    guest.receiveAll();
    expect(guest.frames.map((frame) => frame.toString('hex'))).toEqual(
      [GATEWAY, NAME_SERVER].map((address) => {
        const mac = `52:55:${[...ipBytes(address)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`;
        return ethernet(GUEST_MAC, mac, 0x0806, arp(2, mac, address, GUEST_MAC, GUEST_IP)).toString('hex');
      }),
    );
  });
});

describe('ICMP', () => {
  const echo = (payload: Buffer) => {
    const message = Buffer.concat([Buffer.from([8, 0, 0, 0, 0x12, 0x34, 0, 1]), payload]);
    message.writeUInt16BE(internetChecksum(message), 2);
    return message;
  };

  it('answers echo requests to the gateway and the name server, long ones in fragments', async () => {
    const { guest } = await makeGuest();
    guest.announce();
    for (const to of [GATEWAY, NAME_SERVER]) {
      guest.sendIp(ipv4({ from: GUEST_IP, to, protocol: 1 }, echo(Buffer.from('abc'))));
      const frame = await oneFrame(guest, isIcmp);
      expect(ipText(frame.subarray(26, 30))).toBe(to);
      expect([frame[34], frame[35]]).toEqual([0, 0]);
      expect(frame.subarray(38).toString('hex')).toBe('12340001616263');
      expect(internetChecksum(frame.subarray(34))).toBe(0);
    }
    const long = echo(randomBytes(3000));
    for (const [at, more] of [
      [1480, true],
      [2960, false],
      [0, true],
    ] as const) {
      const fragment = { from: GUEST_IP, to: GATEWAY, protocol: 1, id: 9, fragmentOffset: at, moreFragments: more };
      guest.sendIp(ipv4(fragment, long.subarray(at, at + 1480)));
    }
    await guest.until(() => guest.frames.length === 3, 'fragments');
    const reply = Buffer.concat(guest.frames.map((frame) => frame.subarray(34)));
    expect(guest.frames.map((frame) => frame.readUInt16BE(20))).toEqual([0x2000, 0x2000 | 185, 370]);
    expect(reply.subarray(4)).toEqual(long.subarray(4));
    expect(reply[0]).toBe(0);
    expect(internetChecksum(reply)).toBe(0);
  });

  it('says that it cannot ping the world', async () => {
    const { guest } = await makeGuest();
    const packet = ipv4({ from: GUEST_IP, to: '192.0.2.1', protocol: 1 }, echo(Buffer.from('abc')));
    guest.sendIp(packet);
    const frame = await oneFrame(guest, isIcmp);
    expect([frame[34], frame[35]]).toEqual([3, 13]);
    expect(frame.subarray(42)).toEqual(packet.subarray(0, 28));
  });
});

describe('DHCP', () => {
  function ask(guest: TestGuest, options: [number, Uint8Array][], mac = GUEST_MAC, xid = 77) {
    const datagram = udp('0.0.0.0', 68, '255.255.255.255', 67, dhcp(mac, xid, options));
    const packet = ipv4({ from: '0.0.0.0', to: '255.255.255.255', protocol: 17 }, datagram);
    guest.buffers.send(ethernet(BROADCAST, mac, 0x0800, packet));
    guest.receiveAll();
    const frame = guest.frames.pop();
    if (frame) expect(parseUdp(frame)).toMatchObject({ from: GATEWAY, fromPort: 67, toPort: 68 });
    return frame && parseDhcp(frame);
  }
  const type = (value: number): [number, Uint8Array] => [53, Buffer.from([value])];

  it('offers and gives the first address, with gateway, name server, mask, lease and name', async () => {
    const { backend, guest } = await makeGuest([['hostname', 'unikernel']]);
    const offer = ask(guest, [type(1)]);
    expect(offer?.address).toBe('10.0.2.15');
    expect(offer?.xid).toBe(77);
    expect(offer?.options.get(53)).toEqual(Buffer.from([2]));
    const ack = ask(guest, [type(3), [50, ipBytes('10.0.2.15')], [54, ipBytes(GATEWAY)]]);
    expect(ack?.address).toBe('10.0.2.15');
    expect(ack?.options.get(53)).toEqual(Buffer.from([5]));
    expect(ack?.options.get(1)).toEqual(ipBytes('255.255.255.0'));
    expect(ack?.options.get(3)).toEqual(ipBytes(GATEWAY));
    expect(ack?.options.get(6)).toEqual(ipBytes(NAME_SERVER));
    expect(ack?.options.get(12)?.toString()).toBe('unikernel');
    expect(ack?.options.get(51)?.readUInt32BE()).toBe(86400);
    expect(ack?.options.get(54)).toEqual(ipBytes(GATEWAY));
    expect(backend.neighbours.latest?.address).toBe(0x0a00020f);
  });

  it('gives each client its own address, refuses foreign ones, and leaves other servers alone', async () => {
    const { guest } = await makeGuest([['restrict', 'on']]);
    const macs = Array.from({ length: 17 }, (_, i) => `52:54:00:00:00:${(0x10 + i).toString(16)}`);
    const addresses = macs.map((mac) => ask(guest, [type(1)], mac)?.address);
    expect(addresses.slice(0, 3)).toEqual(['10.0.2.15', '10.0.2.16', '10.0.2.17']);
    expect(addresses[16]).toBeUndefined();
    expect(ask(guest, [type(1)], macs[1])?.address).toBe('10.0.2.16');
    const nak = ask(guest, [type(3), [50, ipBytes('192.168.1.5')]], macs[2]);
    expect([nak?.options.get(53)?.[0], nak?.address]).toEqual([6, '0.0.0.0']);
    expect(ask(guest, [type(3), [54, ipBytes('10.0.2.9')]], macs[2])).toBeUndefined();
    const ack = ask(guest, [type(3), [50, ipBytes('10.0.2.17')]], macs[2]);
    expect([ack?.options.has(3), ack?.options.has(6)]).toEqual([false, false]);
  });

  it('grants a free address of the pool that the client asks for', async () => {
    const { guest } = await makeGuest([
      ['net', '192.168.7.0/24'],
      ['dhcpstart', '192.168.7.100'],
      ['host', '192.168.7.1'],
    ]);
    const datagram = udp(
      '0.0.0.0',
      68,
      '255.255.255.255',
      67,
      dhcp(GUEST_MAC, 1, [type(3), [50, ipBytes('192.168.7.103')]]),
    );
    const packet = ipv4({ from: '0.0.0.0', to: '255.255.255.255', protocol: 17 }, datagram);
    guest.buffers.send(ethernet(BROADCAST, GUEST_MAC, 0x0800, packet));
    guest.receiveAll();
    expect(parseDhcp(guest.frames[0])?.address).toBe('192.168.7.103');
  });
});

describe('UDP', () => {
  it('reaches a server of this host through the gateway, and the answers come back', async () => {
    const { guest } = await makeGuest();
    const server = await bind((socket, payload, port) => socket.send(`${payload}!`, port));
    for (const [port, text] of [
      [1000, 'one'],
      [1001, 'two'],
    ] as const) {
      guest.sendUdp(port, GATEWAY, server.address().port, Buffer.from(text));
      const answer = parseUdp(await oneFrame(guest, isUdp));
      expect(answer).toMatchObject({ from: GATEWAY, fromPort: server.address().port, to: GUEST_IP, toPort: port });
      expect(answer.payload.toString()).toBe(`${text}!`);
    }
  });

  it('carries datagrams longer than the MTU, fragmented both ways', async () => {
    const { guest } = await makeGuest();
    const server = await bind((socket, payload, port) => socket.send(payload, port));
    const payload = randomBytes(9000);
    const datagram = udp(GUEST_IP, 1000, GATEWAY, server.address().port, payload);
    for (let at = 0; at < datagram.length; at += 1480) {
      const more = at + 1480 < datagram.length;
      const fields = { from: GUEST_IP, to: GATEWAY, protocol: 17, id: 3, fragmentOffset: at, moreFragments: more };
      guest.sendIp(ipv4(fields, datagram.subarray(at, at + 1480)));
    }
    await guest.until(() => guest.frames.length === 7, 'fragments');
    const message = Buffer.concat(guest.frames.map((frame) => frame.subarray(34)));
    expect(message.subarray(8)).toEqual(payload);
  });

  it('drops what has a wrong checksum or length, and what comes from outside of the network', async () => {
    const { guest } = await makeGuest();
    const got: string[] = [];
    const server = await bind((_socket, payload) => got.push(payload.toString()));
    const { port } = server.address();
    const wrong = udp(GUEST_IP, 1, GATEWAY, port, Buffer.from('wrong checksum'));
    wrong[6] ^= 1;
    const long = udp(GUEST_IP, 1, GATEWAY, port, Buffer.from('too long'));
    long.writeUInt16BE(200, 4);
    const none = udp(GUEST_IP, 1, GATEWAY, port, Buffer.from('no checksum'));
    none.writeUInt16BE(0, 6);
    const foreign = udp('192.0.2.7', 1, GATEWAY, port, Buffer.from('foreign'));
    for (const datagram of [wrong, long, none])
      guest.sendIp(ipv4({ from: GUEST_IP, to: GATEWAY, protocol: 17 }, datagram));
    guest.sendIp(ipv4({ from: '192.0.2.7', to: GATEWAY, protocol: 17 }, foreign));
    guest.sendUdp(2, GATEWAY, port, Buffer.from('last'));
    await guest.until(() => got.includes('last'), 'the last');
    expect(got).toEqual(['no checksum', 'last']);
  });

  it('forwards queries to the resolver and answers as the name server', async () => {
    const resolver = await bind((socket, payload, port) => socket.send(`answer to ${payload}`, port));
    const { guest } = await makeGuest([], resolver.address().port);
    guest.sendUdp(5353, NAME_SERVER, 53, Buffer.from('query'));
    const answer = parseUdp(await oneFrame(guest, isUdp));
    expect(answer).toMatchObject({ from: NAME_SERVER, fromPort: 53, toPort: 5353 });
    expect(answer.payload.toString()).toBe('answer to query');
  });

  it('hostfwd brings datagrams of several clients to the guest, and each its answer, with restrict=on too', async () => {
    const { backend, guest } = await makeGuest([
      ['hostfwd', 'udp:127.0.0.1:0-:7'],
      ['restrict', 'on'],
    ]);
    const answers: string[] = [];
    const clients = [await bind((_s, p) => answers.push(`a ${p}`)), await bind((_s, p) => answers.push(`b ${p}`))];
    for (const [i, client] of clients.entries()) client.send(`from ${i}`, backend.forwards[0].hostPort, '127.0.0.1');
    // The guest was not heard of yet: the datagrams wait for ARP.
    await guest.until(() => guest.frames.filter(isUdp).length === 2, 'both');
    for (const frame of guest.frames.filter(isUdp)) {
      const { from, fromPort, toPort, payload } = parseUdp(frame);
      expect(toPort).toBe(7);
      guest.sendUdp(7, from, fromPort, Buffer.from(`re ${payload}`));
    }
    await guest.until(() => answers.length === 2, 'answers');
    expect(answers.sort()).toEqual(['a re from 0', 'b re from 1']);
    const server = await bind(() => answers.push('escaped'));
    guest.sendUdp(9, GATEWAY, server.address().port, Buffer.from('x'));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(answers.length).toBe(2);
  });

  it('tells the device once that packets wait, and again after it took them all', async () => {
    const { backend, guest } = await makeGuest();
    let told = 0;
    backend.onReceive = () => told++;
    const ping = () => {
      const message = Buffer.from([8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
      guest.sendIp(ipv4({ from: GUEST_IP, to: GATEWAY, protocol: 1 }, message));
    };
    ping();
    ping();
    expect(told).toBe(1);
    expect(guest.receiveAll()).toBe(2);
    ping();
    expect(told).toBe(2);
  });

  it('drops a packet that does not fit in the buffer, and gives the next', async () => {
    const { guest } = await makeGuest();
    const server = await bind((socket, payload, port) => socket.send(payload, port));
    guest.sendUdp(1, GATEWAY, server.address().port, Buffer.alloc(1000));
    guest.sendUdp(1, GATEWAY, server.address().port, Buffer.from('small'));
    await new Promise((resolve) => setTimeout(resolve, 30));
    guest.capacity = 100;
    expect(parseUdp(await oneFrame(guest, isUdp)).payload.toString()).toBe('small');
  });
});

describe('options', () => {
  const parse = (text: string) =>
    parseUserOptions(text ? text.split(',').map((part) => part.split(/=(.*)/s).slice(0, 2) as [string, string]) : []);

  it("has QEMU's defaults, and derives them from net=", () => {
    const { net, mask, host, dns, dhcpStart, restrict, forwards } = parse('');
    expect([net, mask, host, dns, dhcpStart]).toEqual([0x0a000200, 0xffffff00, 0x0a000202, 0x0a000203, 0x0a00020f]);
    expect([restrict, forwards]).toEqual([false, []]);
    expect(parse('net=192.168.76.0/24')).toMatchObject({ host: 0xc0a84c02, dns: 0xc0a84c03, dhcpStart: 0xc0a84c0f });
    expect(parse('net=172.20.0.0/255.255.0.0')).toMatchObject({ mask: 0xffff0000, host: 0xac140202 });
    expect(parse('net=10.1.2.3')).toMatchObject({ net: 0x0a000000, mask: 0xff000000 });
  });

  it('reads hostfwd in all its forms', () => {
    const { forwards } = parse('hostfwd=tcp:127.0.0.1:8080-10.0.2.15:80,hostfwd=udp::53-:53,hostfwd=::2222-:22');
    expect(forwards).toEqual([
      { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 8080, guestAddress: 0x0a00020f, guestPort: 80 },
      { protocol: 'udp', hostAddress: '0.0.0.0', hostPort: 53, guestAddress: 0, guestPort: 53 },
      { protocol: 'tcp', hostAddress: '0.0.0.0', hostPort: 2222, guestAddress: 0, guestPort: 22 },
    ]);
  });

  it.each([
    ['hostfwd=tcp:8080-:80', /hostfwd=tcp:8080-:80: write it as/],
    ['hostfwd=tcp::8080-:0', /write it as/],
    ['hostfwd=tcp::99999-:80', /write it as/],
    ['hostfwd=tcp:localhost:80-:80', /write it as/],
    ['net=10.0.2.0/33', /net=10.0.2.0\/33 is no network/],
    ['net=10.0.2.0/30', /is no network/],
    ['net=10.0.2.0/255.0.255.0', /is no network/],
    ['net=banana', /net=banana is no IPv4 address/],
    ['host=10.0.3.1', /host=10.0.3.1 is no address of a host in net=10.0.2.0/],
    ['dns=10.0.2.2', /must be different/],
    ['dhcpstart=10.0.2.255', /is no address of a host/],
    ['restrict=maybe', /restrict=maybe: on or off/],
    ['ipv4=off', /ipv4=off/],
    ['ipv6=on', /ipv6=on is not supported/],
    ['smb=/tmp', /unknown option smb=/],
  ])('refuses %s', (text, message) => {
    expect(() => parse(text)).toThrow(message);
  });

  it('finds the resolver in resolv.conf', () => {
    expect(parseResolvConf('# x\nsearch a\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n')).toEqual({
      address: '192.0.2.1',
      port: 53,
    });
    expect(parseResolvConf('nameserver  fe80::1%eth0').address).toBe('fe80::1%eth0');
    expect(parseResolvConf('nameserver banana').address).toBe('127.0.0.1');
  });
});
