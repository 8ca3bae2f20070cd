/** Character back ends: `-chardev`, and the short forms that `-serial`, `-monitor` and `-debugcon` take. */

import { UserError } from '../errors.ts';
import { Suboptions } from '../keyval.ts';
import type { CharacterConfig, SocketConfig } from './config.ts';
import type { Draft } from './draft.ts';

/** The most a Unix socket's path can have (sun_path, with its terminator). */
const UNIX_PATH_MAX = 107;

/** `-chardev backend,id=…` */
export function addChardev(draft: Draft, text: string): void {
  const sub = new Suboptions('-chardev', text, 'backend');
  const backend = sub.require('backend');
  const id = sub.takeId() ?? sub.fail("Parameter 'id' is missing");
  const mux = sub.takeBoolean('mux') ?? false;
  const signals = sub.takeBoolean('signal') ?? true;
  draft.claimId('chardev', id, sub.where);
  switch (backend) {
    case 'stdio':
      addCharacter(draft, { id, mux, kind: 'stdio', signals }, sub.where);
      break;
    case 'null':
      addCharacter(draft, { id, mux, kind: 'null' }, sub.where);
      break;
    case 'file':
      addCharacter(
        draft,
        { id, mux, kind: 'file', path: sub.require('path'), append: sub.takeBoolean('append') ?? false },
        sub.where,
      );
      break;
    case 'socket':
      addCharacter(draft, { id, mux, kind: 'socket', ...takeSocket(sub) }, sub.where);
      break;
    default:
      sub.fail(`'${backend}' is not a valid char driver (one of: stdio, null, file, socket)`);
  }
  sub.finish();
}

/** A socket of either kind: it has a `path`, or `port` and perhaps `host`. */
function takeSocket(sub: Suboptions): SocketConfig {
  const port = sub.takeInteger('port', 0, 65535);
  const server = sub.takeBoolean('server') ?? false;
  const wait = sub.takeBoolean('wait') ?? server;
  sub.ignore('reconnect', 'delay', 'nodelay');
  if (port !== undefined) {
    const given = sub.take('host') ?? '';
    const host = given === '' ? (server ? '0.0.0.0' : '127.0.0.1') : given.replace(/^\[(.*)\]$/, '$1');
    return { name: `tcp:${given}:${port}`, address: { host, port }, server, wait };
  }
  const path = sub.require('path');
  if (Buffer.byteLength(path) > UNIX_PATH_MAX) {
    sub.fail(`UNIX socket path '${path}' is longer than ${UNIX_PATH_MAX} bytes`);
  }
  return { name: `unix:${path}`, address: { path }, server, wait };
}

/**
 * A short form: `stdio`, `null`, `none`, `file:PATH`, `unix:PATH[,server=on][,wait=off]`, `tcp:HOST:PORT[,…]`, `chardev:ID`; `mon:` in front
 * multiplexes a monitor onto it.
 * @param label the id of a character device that is made for it
 * @returns the character's id, undefined for `none`
 */
export function addShortForm(draft: Draft, option: string, text: string, label: string): string | undefined {
  const where = `${option} ${text}`;
  const mux = text.startsWith('mon:');
  const form = mux ? text.slice('mon:'.length) : text;
  const [kind, rest] = split(form);
  if (kind === 'chardev') {
    if (!draft.hasId('chardev', rest)) {
      throw new UserError(`${where}: there is no -chardev with id '${rest}' before it`);
    }
    return rest;
  }
  const character = shortForm(where, kind, rest, label, mux);
  if (character) {
    draft.claimId('chardev', label, where);
    addCharacter(draft, character, where);
    if (mux) {
      draft.monitors.push(character.id);
      draft.monitorGiven = true;
    }
  }
  return character?.id;
}

function split(form: string): [string, string] {
  const colon = form.indexOf(':');
  return colon < 0 ? [form, ''] : [form.slice(0, colon), form.slice(colon + 1)];
}

function shortForm(where: string, kind: string, rest: string, id: string, mux: boolean): CharacterConfig | undefined {
  switch (kind) {
    case 'none':
      return undefined;
    case 'stdio':
      // With Ctrl-A x to end us, Ctrl-C is free for the guest.
      return { id, mux, kind: 'stdio', signals: !mux };
    case 'null':
    // QEMU's virtual console in a graphical window: there is no window here.
    case 'vc':
      return { id, mux, kind: 'null' };
    case 'file':
      return { id, mux, kind: 'file', path: rest, append: false };
    case 'unix': {
      const sub = new Suboptions(where, rest, 'path');
      const socket = takeSocket(sub);
      sub.finish();
      return { id, mux, kind: 'socket', ...socket };
    }
    case 'tcp': {
      const [, host, port, options] = /^(.*?):([^:,]*)(?:,(.*))?$/.exec(rest) ?? [];
      const sub = new Suboptions(where, `host=${host ?? ''},port=${port ?? ''},${options ?? ''}`);
      const socket = takeSocket(sub);
      sub.finish();
      return { id, mux, kind: 'socket', ...socket };
    }
    default:
      throw new UserError(
        `${where}: '${kind}' is not a valid char driver (one of: stdio, null, none, file:PATH, unix:PATH, tcp:HOST:PORT, chardev:ID)`,
      );
  }
}

function addCharacter(draft: Draft, character: CharacterConfig, where: string): void {
  if (character.kind === 'stdio' && draft.characters.some((other) => other.kind === 'stdio')) {
    throw new UserError(`${where}: cannot use stdio by multiple character devices`);
  }
  draft.characters.push(character);
}

/** `-mon chardev=ID[,mode=readline|control]` */
export function addMonitor(draft: Draft, text: string): void {
  const sub = new Suboptions('-mon', text, 'chardev');
  const id = sub.require('chardev');
  if (!draft.hasId('chardev', id)) {
    sub.fail(`chardev '${id}' not found`);
  }
  const isQmp = sub.takeOneOf('mode', ['readline', 'control']) === 'control';
  sub.takeId();
  sub.ignore('pretty');
  sub.finish();
  if (isQmp) {
    draft.qmps.push(id);
  } else {
    draft.monitors.push(id);
    draft.monitorGiven = true;
  }
}
