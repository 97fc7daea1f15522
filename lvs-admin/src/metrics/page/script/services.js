
// Services and their servers.

const COLUMNS = [
  ['State', ''],
  ['Server', ''],
  ['Weight', 'n'],
  ['Share of new', 'share'],
  ['Conn/s', 'n'],
  ['Active', 'n'],
  ['Inactive', 'n'],
  ['Packets/s', 'n'],
  ['Bytes/s', 'n'],
  ['Since', 'n'],
];

/** A row of a service's table, and one below it for the reason, where there is one. */
class ServerRow {
  constructor() {
    const cell = (name, ...children) => el('td', { class: name, role: 'cell' }, ...children);
    this.icon = el('span', { class: 'sign' });
    this.word = el('span');
    this.address = el('th', { scope: 'row', role: 'rowheader', class: 'address' });
    this.weight = cell('n weight');
    this.bar = el('span', { class: 'fill' });
    this.share = el('span', { class: 'figure' });
    this.spark = new Spark();
    this.rate = el('span', { class: 'figure' });
    this.active = cell('n active');
    this.inactive = cell('n inactive');
    this.packets = cell('n packets');
    this.bytes = cell('n bytes');
    this.since = cell('n since');
    this.why = cell('why');
    this.node = el('tr', { role: 'row', class: 'server' },
      cell('state', this.icon, this.word), this.address, this.weight,
      cell('share', el('span', { class: 'meter', 'aria-hidden': 'true' }, this.bar), this.share),
      cell('n rate', this.spark.node, this.rate), this.active, this.inactive, this.packets, this.bytes, this.since);
    this.reason = el('tr', { role: 'row', class: 'reason', hidden: true }, cell('none'), this.why);
    this.why.colSpan = COLUMNS.length - 1;
  }

  update(server, total, most, series, now) {
    const [word, sign, tone] = stateOf(server);
    attribute(this.node, 'data-tone', tone);
    if (this.sign !== sign) {
      this.icon.replaceChildren(icon(sign));
      this.sign = sign;
    }
    put(this.word, server.member ? word : word + ', taken out');
    put(this.address, endpoint(server));
    attribute(this.address, 'title', server.mac ? 'at ' + server.mac : 'Ethernet address not known');
    const slow = server.effective_weight !== server.full_weight;
    put(this.weight, slow ? server.effective_weight + ' of ' + server.full_weight : String(server.full_weight));
    const share = total > 0 ? server.rates.connections / total : 0;
    // Against the largest: shares of thirty servers are all small.
    this.bar.style.width = ((100 * server.rates.connections) / Math.max(1, most)).toFixed(1) + '%';
    put(this.share, percent(share));
    put(this.rate, count(server.rates.connections));
    put(this.active, count(server.active));
    put(this.inactive, count(server.inactive));
    attribute(this.inactive, 'title', server.persistent ? plural(server.persistent, 'client') + ' stay with it' : null);
    put(this.packets, count(server.rates.in_packets));
    put(this.bytes, bytes(server.rates.in_bytes));
    put(this.since, server.since === null ? '' : duration(now - server.since));
    attribute(this.since, 'title', server.since === null ? null : 'since ' + clock(server.since, now));
    this.spark.draw(series, now);
    const why = server.reason ? (tone === 'bad' || tone === 'warn' ? '' : 'latest failure: ') + server.reason : '';
    put(this.why, why);
    this.reason.hidden = !why || this.node.hidden;
    attribute(this.reason, 'data-tone', tone);
  }

  show(shown) {
    this.node.hidden = !shown;
    this.reason.hidden = !shown || !this.why.textContent;
  }
}

function endpoint(server) {
  const host = server.address.includes(':') ? '[' + server.address + ']' : server.address;
  return server.port ? host + ':' + server.port : host;
}

/** One bar a server: as high as its share, of the colour of its state; who gets nothing is a frame around nothing. */
class Strip {
  constructor() {
    this.node = svg('svg', { class: 'strip', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    this.bars = [];
  }

  draw(servers) {
    const most = Math.max(1, ...servers.map((server) => server.rates.connections));
    attribute(this.node, 'viewBox', '0 0 ' + servers.length * 6 + ' 20');
    this.node.style.width = Math.min(260, servers.length * 7) + 'px';
    while (this.bars.length > servers.length) this.bars.pop().remove();
    servers.forEach((server, at) => {
      if (!this.bars[at]) {
        this.bars[at] = svg('rect', { width: 4.4 });
        this.node.append(this.bars[at]);
      }
      const bar = this.bars[at];
      const problem = isProblem(server) && !server.rates.connections;
      const height = problem ? 18 : 2 + (16 * server.rates.connections) / most;
      attribute(bar, 'x', (at * 6 + 0.8).toFixed(1));
      attribute(bar, 'y', (19 - height).toFixed(1));
      attribute(bar, 'height', height.toFixed(1));
      attribute(bar, 'class', stateOf(server)[2] + (problem ? ' empty' : ''));
    });
  }
}

class ServiceView {
  constructor(id) {
    this.rows = new Map();
    this.open = null;
    const name = 'service-' + ServiceView.next++;
    this.id = el('span', { class: 'id', text: id });
    this.chips = el('span', { class: 'chips' });
    this.strip = new Strip();
    this.counts = el('span', { class: 'counts' });
    this.spark = new Spark('wide');
    this.rate = el('span', { class: 'figure' });
    this.flow = el('span', { class: 'flow' });
    this.button = el('button', { type: 'button', class: 'summary', 'aria-controls': name },
      el('span', { class: 'caret', 'aria-hidden': 'true' }), el('span', { class: 'what' }, this.id, this.chips),
      el('span', { class: 'health' }, this.strip.node, this.counts),
      el('span', { class: 'load' }, this.spark.node, this.rate), this.flow);
    this.button.addEventListener('click', () => this.set(!this.isOpen()));
    const head = COLUMNS.map(([title, name]) => el('th', { scope: 'col', role: 'columnheader', class: name, text: title }));
    this.body = el('tbody', { role: 'rowgroup' });
    const caption = el('caption', { class: 'hidden', text: 'Servers of ' + id });
    this.table = el('table', { role: 'table' }, caption,
      el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...head)), this.body);
    this.empty = el('p', { class: 'nothing', text: 'No servers.', hidden: true });
    this.rest = el('button', { type: 'button', class: 'quiet rest', hidden: true });
    this.rest.addEventListener('click', () => this.set(true));
    this.content = el('div', { class: 'content', id: name }, this.table, this.empty, this.rest);
    this.node = el('section', { class: 'service', 'aria-label': id }, el('h3', {}, this.button), this.content);
  }

  isOpen() {
    return this.open === null ? this.byDefault : this.open;
  }

  set(open) {
    this.open = open;
    filter();
  }

  follow() {
    const open = this.isOpen() || this.forced;
    attribute(this.button, 'aria-expanded', String(open));
    this.content.hidden = !open;
    if (open && this.service) this.draw();
  }

  update(service, history, now, few) {
    this.service = service;
    this.history = history;
    this.now = now;
    const problems = service.servers.filter(isProblem).length;
    const bad = service.servers.some((server) => stateOf(server)[2] === 'bad') || service.quorum === false || !service.servers.length;
    this.problems = problems > 0 || bad;
    // What is opened by itself stays so: nothing moves away under somebody who reads.
    this.byDefault = this.byDefault || few || bad;
    this.brief = !few && bad;
    attribute(this.node, 'data-tone', bad ? 'bad' : problems ? 'warn' : 'ok');
    this.chip(service);
    this.strip.draw(service.servers);
    put(this.counts, inWords(service.servers));
    this.spark.draw(history.of(service.id), now);
    put(this.rate, count(service.rates.connections) + ' conn/s');
    put(this.flow, bytes(service.rates.in_bytes) + '/s');
    this.text = [service.id, service.scheduler, ...service.flags].join(' ').toLowerCase();
  }

  chip(service) {
    const chips = [[service.scheduler, 'Scheduler']];
    for (const flag of service.flags) chips.push([flag, 'Flag of the scheduler']);
    if (service.persistence) chips.push(['stays ' + duration(service.persistence.timeout), 'A client stays with its server for that long']);
    if (service.one_packet) chips.push(['ops', 'Every packet is scheduled anew']);
    if (service.quorum === false) chips.push(['no quorum', 'Not enough servers are up', 'bad']);
    if (service.sorry) chips.push(['sorry server', 'Its sorry server is in use', 'bad']);
    const text = JSON.stringify(chips);
    if (this.chipped === text) return;
    this.chipped = text;
    this.chips.replaceChildren(...chips.map(([word, title, tone]) => el('span', { class: 'chip ' + (tone || ''), text: word, title })));
  }

  /** Shows what fits to the words and the wish for problems; answers how many servers that are. */
  filter(words, only) {
    const own = words.filter((word) => !this.text.includes(word));
    // What is open only because something is wrong shows that alone.
    const brief = this.open === null && this.brief && !words.length && !only;
    const shows = (server) => {
      if ((only || brief) && !isProblem(server)) return false;
      if (!own.length) return true;
      const text = [endpoint(server), stateOf(server)[0], server.health, server.reason || '', server.mac || ''].join(' ').toLowerCase();
      return own.every((word) => text.includes(word));
    };
    this.shown = new Set(this.service.servers.filter(shows).map(endpoint));
    const any = this.shown.size > 0 || (!own.length && (!only || this.problems));
    this.node.hidden = !any;
    // Whoever looks for servers wants to see them.
    this.forced = any && (only || own.length > 0) && this.open !== false;
    const others = brief ? this.service.servers.length - this.shown.size : 0;
    this.rest.hidden = others === 0;
    put(this.rest, 'Show ' + plural(others, 'other'));
    this.follow();
    return any ? this.shown.size + others : null;
  }

  draw() {
    const { service, history, now } = this;
    const total = service.servers.reduce((sum, server) => sum + server.rates.connections, 0);
    const most = Math.max(...service.servers.map((server) => server.rates.connections));
    const present = new Set();
    let after = null;
    for (const server of service.servers) {
      const key = endpoint(server);
      present.add(key);
      let row = this.rows.get(key);
      if (!row) this.rows.set(key, (row = new ServerRow()));
      const place = after ? after.nextSibling : this.body.firstChild;
      if (place !== row.node) this.body.insertBefore(row.node, place);
      if (row.node.nextSibling !== row.reason) this.body.insertBefore(row.reason, row.node.nextSibling);
      after = row.reason;
      row.show(!this.shown || this.shown.has(key));
      row.update(server, total, most, history.of(service.id + ' ' + key), now);
    }
    for (const [key, row] of this.rows) {
      if (present.has(key)) continue;
      row.node.remove();
      row.reason.remove();
      this.rows.delete(key);
    }
    this.table.hidden = !service.servers.length;
    this.empty.hidden = service.servers.length > 0;
  }
}
ServiceView.next = 1;

/** 22 up, 1 down, 1 maintenance */
function inWords(servers) {
  if (!servers.length) return 'no servers';
  const by = new Map();
  for (const server of servers) {
    const [word] = stateOf(server);
    by.set(word, (by.get(word) || 0) + 1);
  }
  const parts = [...by].sort((a, b) => (b[0] === 'up') - (a[0] === 'up') || b[1] - a[1]);
  return parts.map(([word, number]) => number + ' ' + word).join(' · ');
}
