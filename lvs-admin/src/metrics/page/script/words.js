'use strict';

// Numbers, times and states in words, and small pieces of the page. Data become text nodes, never markup.

const SVG = document.querySelector('svg').namespaceURI;

/** An element with attributes and children; `text` and `class` are what they say. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') node.textContent = value;
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function icon(name) {
  return svg('svg', { class: 'icon', 'aria-hidden': 'true', viewBox: '0 0 12 12' }, svg('use', { href: '#i-' + name }));
}

/** Writes only what is new: the browser need not lay out what stays. */
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function attribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

const UNITS = ['', 'k', 'M', 'G', 'T', 'P', 'E'];

function scaled(value, exact) {
  let unit = 0;
  while (value >= (unit === 0 ? exact : 999.5) && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 ? (value > 0 && value < 9.95 && !Number.isInteger(value) ? 1 : 0) : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return [value.toFixed(digits), UNITS[unit]];
}

/** 7, 9500, 12.3 k */
function count(value) {
  const [number, unit] = scaled(value, 9999.5);
  return unit ? number + '\u202f' + unit : number;
}

/** 950 B, 1.20 MB */
function bytes(value) {
  const [number, unit] = scaled(value, 999.5);
  return number + '\u202f' + unit + 'B';
}

function percent(share) {
  if (share > 0 && share < 0.001) return '<\u202f0.1\u202f%';
  return (share * 100 >= 9.95 || share === 0 ? (share * 100).toFixed(0) : (share * 100).toFixed(1)) + '\u202f%';
}

/** 42 s, 12 min, 2 h 5 min, 3 d 4 h */
function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return s + ' s';
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return minutes + ' min';
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return hours + ' h ' + (minutes % 60) + ' min';
  return Math.floor(hours / 24) + ' d ' + (hours % 24) + ' h';
}

/** The time, with the day if it is another one. */
function clock(unix, now) {
  const at = new Date(unix * 1000);
  const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
  if (at.toDateString() === new Date(now * 1000).toDateString()) return time;
  return at.toLocaleDateString([], { month: 'short', day: 'numeric' }) + ' ' + time;
}

function plural(number, one, many) {
  return count(number) + ' ' + (number === 1 ? one : many || one + 's');
}

/** How a server is: a word, an icon, a tone. */
const STATES = {
  up: ['up', 'up', 'ok'],
  assumed_up: ['assumed up', 'maybe', 'ok'],
  forced_up: ['up by hand', 'up', 'warn'],
  in_use: ['sorry server, in use', 'warn', 'warn'],
  unchecked: ['not checked', 'maybe', 'plain'],
  down: ['down', 'down', 'bad'],
  assumed_down: ['assumed down', 'down', 'bad'],
  held: ['held back', 'warn', 'warn'],
  forced_down: ['down by hand', 'pause', 'off'],
  maintenance: ['maintenance', 'pause', 'off'],
  waiting: ['sorry server', 'pause', 'off'],
};

function stateOf(server) {
  const [word, sign, tone] = STATES[server.health] || [server.health, 'maybe', 'plain'];
  if (tone === 'ok' || tone === 'plain') {
    if (server.overloaded) return ['overloaded', 'warn', 'warn'];
    if (server.draining) return ['draining', 'pause', 'off'];
    if (server.effective_weight === 0) return ['weight 0', 'pause', 'off'];
  }
  return [server.draining ? word + ', draining' : word, sign, tone];
}

/** Whether somebody who asks for problems wants to see it. */
function isProblem(server) {
  return !['ok', 'plain'].includes(stateOf(server)[2]) && server.health !== 'waiting';
}

/** Reasons to drop a frame, and whether it is a loss at all. */
const REASONS = {
  truncated: 'shorter than its headers',
  malformed: 'headers that contradict themselves',
  bad_checksum: 'wrong header checksum',
  martian: 'addresses that cannot be',
  own_frame: 'own frame came back',
  not_unicast: 'for a VIP, to a group address',
  bad_neighbour_message: 'dishonest ARP or NDP',
  consumed: 'heard and used: no loss',
  no_service: 'no service on that port',
  not_syn: 'TCP of no known connection',
  no_destination: 'no server to choose',
  destination_gone: 'its server was removed',
  drained: 'its server was drained',
  shed: 'refused by drop_packet',
  not_init: 'SCTP of no known association',
  no_protocol: 'protocol that is not balanced',
  no_route: 'no way to the server',
  unresolved: 'server did not answer ARP or NDP',
  waiting_full: 'too many wait for that server',
  pool_full: 'no buffer to wait in',
  too_big: 'longer than the way out allows',
  ttl_exceeded: 'its time to live ran out',
  fragment: 'first fragment not seen',
  icmp_unrelated: 'ICMP about no connection',
  rate_limited: 'answer over the limit',
  no_room: 'no room for a tag',
  probe_reply: 'late answer to a probe: no loss',
  owner_busy: 'its worker had no room',
};
const NO_LOSS = ['consumed', 'probe_reply'];

/** What was measured when: for rates and sparklines, three minutes back. */
class History {
  constructor() {
    this.series = new Map();
  }

  push(key, time, value) {
    let one = this.series.get(key);
    if (!one) this.series.set(key, (one = []));
    one.push([time, value]);
    while (one.length && one[0][0] < time - History.SPAN) one.shift();
  }

  of(key) {
    return this.series.get(key) || [];
  }

  /** Forgets what has not been heard of since then. */
  prune(since) {
    for (const [key, one] of this.series) if (!one.length || one[one.length - 1][0] < since) this.series.delete(key);
  }
}
History.SPAN = 180;

/** A small curve over the last three minutes, or as long as somebody has looked, from 0 to its own largest value. */
class Spark {
  constructor(name) {
    this.area = svg('path', { class: 'area' });
    this.line = svg('path', { class: 'line' });
    const box = { class: 'spark ' + (name || ''), viewBox: '0 0 100 24', preserveAspectRatio: 'none', 'aria-hidden': 'true' };
    this.node = svg('svg', box, this.area, this.line);
  }

  draw(series, now) {
    const top = Math.max(1e-9, ...series.map((point) => point[1])) * 1.08;
    const span = Math.max(20, Math.min(History.SPAN, now - (series.length ? series[0][0] : now)));
    let line = '';
    let area = '';
    let last = null;
    for (const [time, value] of series) {
      const x = (100 * (1 - (now - time) / span)).toFixed(2);
      const y = (23 - (22 * value) / top).toFixed(2);
      // Where nobody looked, nothing is drawn.
      const gap = last === null || time - last[0] > 12;
      if (gap && last !== null) area += 'L' + last[1] + ' 24Z';
      area += gap ? 'M' + x + ' 24L' + x + ' ' + y : 'L' + x + ' ' + y;
      line += (gap ? 'M' : 'L') + x + ' ' + y;
      last = [time, x];
    }
    attribute(this.line, 'd', line || 'M0 23');
    attribute(this.area, 'd', last ? area + 'L' + last[1] + ' 24Z' : 'M0 24');
  }
}
