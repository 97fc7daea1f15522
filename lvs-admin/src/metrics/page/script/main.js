
// Asks for figures, keeps their history, and puts everything in its place.

const byId = (id) => document.getElementById(id);
const PATIENCE = 5000;
const STALE = 5;

const page = {
  views: new Map(),
  history: new History(),
  tiles: new Tiles(byId('tiles')),
  panels: new Panels(),
  snapshot: null,
  /** When the latest figures came, by this browser's clock in milliseconds. */
  came: null,
  failure: null,
  timer: 0,
};

function remember(snapshot) {
  const { history } = page;
  const now = snapshot.time;
  const before = page.snapshot;
  // Another start, or a clock that was set back: what was before says nothing now.
  if (before && (snapshot.uptime < before.uptime || now < before.time)) page.history.series.clear();
  const sums = { connections: 0, packets: 0, bytes: 0 };
  for (const service of snapshot.services) {
    sums.connections += service.rates.connections;
    sums.packets += service.rates.in_packets;
    sums.bytes += service.rates.in_bytes;
    history.push(service.id, now, service.rates.connections);
    for (const server of service.servers) history.push(service.id + ' ' + endpoint(server), now, server.rates.connections);
  }
  for (const [name, sum] of Object.entries(sums)) history.push('all ' + name, now, sum);
  let lost = 0;
  for (const drop of snapshot.drops) {
    history.push('drop ' + drop.reason, now, drop.frames);
    if (!NO_LOSS.includes(drop.reason)) lost += drop.frames;
  }
  const { transmitted, passed, held, dropped } = snapshot.frames;
  history.push('lost', now, lost);
  history.push('frames', now, transmitted + passed + held + dropped);
  if (history.of('lost').length > 1) {
    history.push('all dropped', now, perSecond(history.of('lost').slice(-4)));
    history.push('all frames', now, perSecond(history.of('frames').slice(-4)));
  }
  for (const device of snapshot.devices) {
    history.push('rx ' + device.name, now, device.received);
    history.push('tx ' + device.name, now, device.transmitted);
  }
  for (const size of snapshot.batches ? snapshot.batches.sizes : []) history.push('batch ' + size.up_to, now, size.batches);
  for (const [name, number] of Object.entries(snapshot.probes || {})) history.push('probe ' + name, now, number);
  history.prune(now - History.SPAN);
}

function draw() {
  const { snapshot, history, views } = page;
  const now = snapshot.time;
  put(byId('name'), snapshot.name || 'director');
  page.tiles.update(snapshot, history, now);
  drawWarnings(byId('warnings'), snapshot.warnings, go);
  const servers = snapshot.services.reduce((sum, service) => sum + service.servers.length, 0);
  const list = byId('list');
  let after = null;
  for (const service of snapshot.services) {
    let view = views.get(service.id);
    if (!view) views.set(service.id, (view = new ServiceView(service.id)));
    const place = after ? after.nextSibling : list.firstChild;
    if (place !== view.node) list.insertBefore(view.node, place);
    after = view.node;
    view.update(service, history, now, servers <= 40);
  }
  const present = new Set(snapshot.services.map((service) => service.id));
  for (const [id, view] of views) {
    if (present.has(id)) continue;
    view.node.remove();
    views.delete(id);
  }
  filter();
  page.panels.update(snapshot, history, now);
  const version = snapshot.version ? 'lvs ' + snapshot.version + ', ' : '';
  put(byId('about'), version + plural(snapshot.workers, 'worker') + ', up for ' + duration(snapshot.uptime));
  verdict(snapshot);
}

function verdict(snapshot) {
  const number = (severity) => snapshot.warnings.filter((warning) => warning.severity === severity).length;
  const [errors, warnings] = [number('error'), number('warning')];
  const parts = [];
  if (errors) parts.push(plural(errors, 'error'));
  if (warnings) parts.push(plural(warnings, 'warning'));
  const text = parts.join(', ') || 'all well';
  const node = byId('verdict');
  const tone = errors ? 'bad' : warnings ? 'warn' : 'ok';
  if (node.dataset.tone !== tone || node.lastChild?.textContent !== text) {
    node.dataset.tone = tone;
    node.replaceChildren(icon(errors ? 'down' : warnings ? 'warn' : 'up'), el('span', { text }));
  }
  document.title = (errors || warnings ? '(' + (errors + warnings) + ') ' : '') + (snapshot.name || 'director') + ' – lvs';
}

function filter() {
  const words = byId('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  const only = byId('problems').checked;
  let [services, servers] = [0, 0];
  for (const view of page.views.values()) {
    const shown = view.filter(words, only);
    if (shown !== null) {
      services += 1;
      servers += shown;
    }
  }
  put(byId('shown'), plural(services, 'service') + ', ' + plural(servers, 'server') + (words.length || only ? ' shown' : ''));
  const nothing = byId('nothing');
  nothing.hidden = services > 0;
  put(nothing, !page.views.size ? 'This director has no services yet.' : only && !words.length ? 'No problems.' : 'Nothing fits the filter.');
}

/** To a service, from a warning about it. */
function go(id) {
  const view = page.views.get(id);
  if (!view) return;
  if (view.node.hidden) {
    byId('filter').value = '';
    byId('problems').checked = false;
    filter();
  }
  view.set(true);
  view.node.scrollIntoView({ block: 'start' });
  view.button.focus({ preventScroll: true });
}

/** Says plainly how old the figures are. */
function freshness() {
  const fresh = byId('fresh');
  const stale = byId('stale');
  const age = page.came === null ? null : (performance.now() - page.came) / 1000;
  const old = page.failure !== null && (age === null || age > STALE);
  document.body.classList.toggle('old', old);
  stale.hidden = !old;
  if (old) {
    const since = age === null ? 'It has not answered yet' : 'What you see is ' + duration(age) + ' old';
    put(stale, 'The director does not answer. ' + since + '. (' + page.failure + ')');
  }
  put(fresh, age === null ? (old ? 'no figures' : 'asking…') : old ? 'no answer' : 'live');
  attribute(fresh, 'data-tone', old ? 'bad' : 'ok');
}

async function ask() {
  clearTimeout(page.timer);
  const ticket = (page.ticket = {});
  const abort = new AbortController();
  const late = setTimeout(() => abort.abort(), PATIENCE);
  try {
    const response = await fetch('stats.json', { cache: 'no-store', signal: abort.signal });
    if (!response.ok) throw new Error('status ' + response.status);
    const snapshot = await response.json();
    if (page.ticket !== ticket) return;
    remember(snapshot);
    page.snapshot = snapshot;
    page.came = performance.now();
    page.failure = null;
    draw();
  } catch (error) {
    if (page.ticket !== ticket) return;
    page.failure = error.name === 'AbortError' ? 'no answer in ' + PATIENCE / 1000 + ' s' : error.message;
  } finally {
    clearTimeout(late);
  }
  freshness();
  const many = page.snapshot && page.snapshot.services.reduce((sum, service) => sum + service.servers.length, 0) > 100;
  page.timer = setTimeout(ask, document.hidden ? 10000 : many || page.failure ? 2000 : 1000);
}

const THEMES = { auto: ['◐', 'as the system has them'], light: ['○', 'light'], dark: ['●', 'dark'] };

function theme(name, keep) {
  const [sign, words] = THEMES[name];
  if (name === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  const button = byId('theme');
  put(button, sign + ' ' + name);
  button.dataset.name = name;
  attribute(button, 'aria-label', 'Colours: ' + words);
  // A browser may refuse to remember anything; then it asks again next time.
  if (keep) try { localStorage.setItem('lvs-theme', name); } catch { /* so be it */ }
}

function start() {
  let kept = null;
  try { kept = localStorage.getItem('lvs-theme'); } catch { /* so be it */ }
  theme(Object.hasOwn(THEMES, kept || '') ? kept : 'auto', false);
  byId('theme').addEventListener('click', () => {
    const names = Object.keys(THEMES);
    theme(names[(names.indexOf(byId('theme').dataset.name) + 1) % names.length], true);
  });
  byId('filter').addEventListener('input', filter);
  byId('problems').addEventListener('change', filter);
  for (const [id, open] of [['open', true], ['close', false]]) {
    byId(id).addEventListener('click', () => page.views.forEach((view) => view.set(open)));
  }
  document.addEventListener('keydown', (event) => {
    const typing = event.target instanceof HTMLInputElement && event.target.type === 'search';
    if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      byId('filter').focus();
    }
  });
  document.addEventListener('visibilitychange', () => { if (!document.hidden) ask(); });
  setInterval(freshness, 1000);
  ask();
}

start();
