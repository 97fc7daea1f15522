
// Everything beside the services.

/** A figure on top, with its curve or its bar. */
class Tile {
  constructor(title, meter) {
    this.value = el('span', { class: 'value' });
    this.detail = el('span', { class: 'detail' });
    this.spark = meter ? null : new Spark();
    this.bar = el('span', { class: 'fill' });
    const below = meter ? el('span', { class: 'meter', 'aria-hidden': 'true' }, this.bar) : this.spark.node;
    this.node = el('div', { class: 'tile' }, el('h2', { text: title }), el('p', {}, this.value, this.detail), below);
  }

  update(value, detail, tone, drawn, now) {
    put(this.value, value);
    put(this.detail, detail);
    attribute(this.node, 'data-tone', tone);
    if (this.spark) this.spark.draw(drawn, now);
    else this.bar.style.width = Math.min(100, drawn * 100).toFixed(1) + '%';
  }
}

class Tiles {
  constructor(node) {
    this.all = {
      connections: new Tile('New connections'),
      packets: new Tile('Packets to servers'),
      bytes: new Tile('Bytes to servers'),
      dropped: new Tile('Dropped'),
      table: new Tile('Connection table', true),
      servers: new Tile('Servers in service', true),
    };
    node.append(...Object.values(this.all).map((tile) => tile.node));
  }

  update(snapshot, history, now) {
    const sum = (value) => snapshot.services.reduce((all, service) => all + value(service), 0);
    const rate = (name, text, detail, tone) => this.all[name].update(text, detail, tone, history.of('all ' + name), now);
    const latest = (name) => (history.of('all ' + name).at(-1) || [0, 0])[1];
    rate('connections', count(latest('connections')), '/s', 'plain');
    rate('packets', count(latest('packets')), '/s', 'plain');
    rate('bytes', bytes(latest('bytes')), '/s', 'plain');
    const [dropped, frames] = [latest('dropped'), latest('frames')];
    rate('dropped', count(dropped), '/s' + (dropped > 0 ? ' · ' + percent(Math.min(1, dropped / Math.max(frames, dropped))) : ''),
      frames > 0 && dropped / frames > 0.01 ? 'warn' : 'plain');
    const { connections, used, capacity } = snapshot.table;
    const full = capacity ? used / capacity : 0;
    this.all.table.update(count(connections), percent(full) + ' full', full >= 0.95 ? 'bad' : full >= 0.8 ? 'warn' : 'plain', full);
    const servers = sum((service) => service.servers.length);
    const serving = sum((service) => service.servers.filter((server) => !isProblem(server) && server.health !== 'waiting').length);
    this.all.servers.update(count(serving), 'of ' + count(servers), serving < servers ? 'warn' : 'ok', servers ? serving / servers : 0);
  }
}

const SIGNS = { error: ['down', 'Error', 'bad'], warning: ['warn', 'Warning', 'warn'], info: ['info', 'Note', 'plain'] };

/** So many warnings are shown at once; the worst come first. */
const SHOWN = 5;

function drawWarnings(section, warnings, go) {
  const text = JSON.stringify(warnings);
  if (section.dataset.text === text) return;
  section.dataset.text = text;
  section.hidden = !warnings.length;
  const items = warnings.map((warning) => {
    const [sign, word, tone] = SIGNS[warning.severity];
    const body = el('div', {}, el('p', { class: 'what' }, el('strong', { text: word + ' ' }), warning.text));
    body.append(el('p', { class: 'look' }, el('strong', { text: 'Where to look: ' }), warning.look));
    const item = el('li', { 'data-tone': tone }, icon(sign), body);
    if (warning.service) {
      const button = el('button', { type: 'button', class: 'quiet', text: 'Show', 'aria-label': 'Show ' + warning.service });
      button.addEventListener('click', () => go(warning.service));
      item.append(button);
    }
    return item;
  });
  if (items.length > SHOWN + 1) {
    const rest = items.slice(SHOWN);
    const button = el('button', { type: 'button', class: 'quiet' });
    const follow = () => {
      rest.forEach((item) => { item.hidden = !section.all; });
      put(button, section.all ? 'Show fewer' : 'Show ' + rest.length + ' more');
      attribute(button, 'aria-expanded', String(!!section.all));
    };
    button.addEventListener('click', () => { section.all = !section.all; follow(); });
    follow();
    items.push(el('li', { class: 'more' }, button));
  }
  // Who is at one of the buttons stays there.
  const at = [...section.querySelectorAll('button')].indexOf(document.activeElement);
  section.firstElementChild.replaceChildren(...items);
  if (at >= 0) section.querySelectorAll('button')[at]?.focus({ preventScroll: true });
}

/** A table whose rows are made anew when there are others, and else only filled in. */
class Rows {
  constructor(panel, columns, nothing) {
    this.columns = columns;
    this.body = el('tbody');
    const title = panel.querySelector('h2').textContent;
    const head = columns.map(([name, kind]) => el('th', { scope: 'col', class: kind.includes('n') && kind !== 'mono' ? 'n' : '', text: name }));
    this.table = el('table', { class: 'plain' }, el('caption', { class: 'hidden', text: title }), el('thead', {}, el('tr', {}, ...head)), this.body);
    this.nothing = el('p', { class: 'nothing', text: nothing });
    panel.append(el('div', { class: 'scroll' }, this.table), this.nothing);
  }

  update(rows) {
    this.table.hidden = !rows.length;
    this.nothing.hidden = rows.length > 0;
    while (this.body.children.length > rows.length) this.body.lastElementChild.remove();
    rows.forEach(({ cells, tone, bar }, at) => {
      let row = this.body.children[at];
      if (!row) {
        row = el('tr', {}, ...this.columns.map(([, kind]) => {
          const figure = el('span', { class: 'text' });
          const sub = el('span', { class: 'sub' });
          return kind.includes('bar') ? el('td', { class: kind }, el('span', { class: 'meter', 'aria-hidden': 'true' }, el('span', { class: 'fill' })), figure)
            : el('td', { class: kind }, figure, sub);
        }));
        this.body.append(row);
      }
      attribute(row, 'data-tone', tone || 'plain');
      // A cell may have a second, quieter text.
      cells.forEach((cell, column) => {
        const [text, more] = Array.isArray(cell) ? cell : [cell, ''];
        put(row.children[column].querySelector('.text'), text);
        const sub = row.children[column].querySelector('.sub');
        if (sub) put(sub, more);
      });
      const fill = row.querySelector('.fill');
      if (fill) fill.style.width = Math.min(100, (bar || 0) * 100).toFixed(1) + '%';
    });
  }
}

class Panels {
  constructor() {
    const panel = (id) => document.getElementById(id);
    this.drops = new Rows(panel('drops'), [['Reason', ''], ['A second', 'n bar'], ['Since start', 'n']], 'Nothing has been dropped.');
    this.devices = new Rows(panel('devices'), [['Device', ''], ['Received/s', 'n'], ['Sent/s', 'n'], ['Lost in', 'n'], ['Lost out', 'n']], 'No figures.');
    this.batches = new Rows(panel('batches'), [['Frames', ''], ['Batches, lately', 'n bar'], ['Since start', 'n']], 'No figures.');
    this.neighbours = new Rows(panel('neighbours'), [['Address', 'mono'], ['Ethernet address', 'mono'], ['State', ''], ['Waiting', 'n']], 'All answer.');
    this.neighbourLine = el('p', { class: 'muted' });
    panel('neighbours').querySelector('h2').after(this.neighbourLine);
    this.probes = new Rows(panel('probes'), [['Probes', ''], ['A second', 'n'], ['Since start', 'n']], 'No health checks run.');
    this.events = el('ol', { class: 'events' });
    panel('events').append(this.events);
    this.panel = panel;
  }

  update(snapshot, history, now) {
    const rate = (key) => perSecond(history.of(key));
    this.dropped(snapshot, rate);
    this.devices.update(snapshot.devices.map((one) => ({
      cells: [one.name + (one.up ? '' : ' (down)'), count(rate('rx ' + one.name)), count(rate('tx ' + one.name)), count(one.receive_lost), count(one.transmit_lost)],
      tone: one.up ? 'plain' : 'bad',
    })));
    const sizes = snapshot.batches ? snapshot.batches.sizes : [];
    const rates = sizes.map((size) => rate('batch ' + size.up_to));
    const most = Math.max(1e-9, ...rates);
    this.batches.update(sizes.map((size, at) => {
      const from = at ? sizes[at - 1].up_to + 1 : 1;
      const name = from === size.up_to ? String(from) : from + '–' + size.up_to;
      return { cells: [name, count(rates[at]) + '/s', count(size.batches)], bar: rates[at] / most };
    }));
    this.neighboursOf(snapshot.neighbours);
    const probes = snapshot.probes;
    const names = [['started', 'started'], ['successes', 'succeeded'], ['failures', 'failed'], ['undecided', 'could not be carried out'], ['overdue', 'did not end in time'], ['late', 'started late'], ['suspicions', 'early, on suspicion']];
    const kept = names.filter(([name]) => probes && (probes[name] > 0 || ['started', 'failures'].includes(name)));
    this.probes.update(kept.map(([name, word]) => ({ cells: [word, count(rate('probe ' + name)), count(probes[name])] })));
    for (const [id, there] of [['devices', snapshot.devices.length], ['batches', sizes.length], ['neighbours', snapshot.neighbours]]) {
      this.panel(id).hidden = !there;
    }
    this.journal(snapshot.events, now);
  }

  dropped(snapshot, rate) {
    const rows = snapshot.drops.filter((drop) => drop.frames > 0).map((drop) => ({ ...drop, rate: rate('drop ' + drop.reason) }));
    rows.sort((a, b) => NO_LOSS.includes(a.reason) - NO_LOSS.includes(b.reason) || b.frames - a.frames);
    const most = Math.max(1e-9, ...rows.map((row) => row.rate));
    this.drops.update(rows.map((row) => ({
      cells: [[row.reason, REASONS[row.reason] || ''], count(row.rate), count(row.frames)],
      bar: row.rate / most,
      tone: NO_LOSS.includes(row.reason) ? 'off' : 'plain',
    })));
  }

  neighboursOf(all) {
    if (!all) return;
    const fine = (one) => one.mac && one.state !== 'lost';
    const unique = [...new Map(all.map((one) => [one.device + ' ' + one.address, one])).values()];
    const others = unique.filter((one) => !fine(one) || one.waiting > 0);
    put(this.neighbourLine, plural(unique.length, 'server or gateway', 'servers and gateways') + ', ' + (unique.length - others.length) + ' of them known and reachable');
    // A few are shown although all is well.
    const shown = unique.length <= 8 ? unique : others.slice(0, 20);
    this.neighbours.update(shown.map((one) => ({
      cells: [one.address, one.mac || 'not known', [one.state, 'on ' + one.device], String(one.waiting)],
      tone: fine(one) ? 'plain' : 'bad',
    })));
    if (others.length > 20) put(this.neighbourLine, this.neighbourLine.textContent + '; the first 20 others:');
  }

  journal(events, now) {
    const text = JSON.stringify(events);
    if (this.events.dataset.text === text) return;
    this.events.dataset.text = text;
    if (!events.length) {
      this.events.replaceChildren(el('li', { class: 'nothing', text: 'Nothing has happened.' }));
      return;
    }
    this.events.replaceChildren(...events.slice(0, 100).map((event) => {
      const [sign, word, tone] = SIGNS[event.severity];
      const time = el('time', { datetime: new Date(event.time * 1000).toISOString(), text: clock(event.time, now) });
      const mark = el('span', { class: 'sign', title: word }, icon(sign), el('span', { class: 'hidden', text: word + ' ' }));
      return el('li', { 'data-tone': tone }, time, mark, el('span', { class: 'text', text: event.text }));
    }));
  }
}

/** How fast a counter rises, over the last ten seconds or so. */
function perSecond(series) {
  const last = series.at(-1);
  if (!last) return 0;
  const first = series.find((point) => point[0] >= last[0] - 10.5);
  const seconds = last[0] - first[0];
  return seconds > 0 ? Math.max(0, (last[1] - first[1]) / seconds) : 0;
}
