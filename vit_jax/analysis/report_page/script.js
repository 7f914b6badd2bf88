// Draws the report of a run from page.data; see __init__.py for what is there.
const {data, el, svg, number, percent} = page;

const sections = [];
function section(id, title, ...children) {
  if (!children.flat(Infinity).some(Boolean)) return;
  sections.push([id, title]);
  document.getElementById('main').append(
    el('section', {id, class: 'card', 'aria-labelledby': `${id}-title`},
      el('h2', {id: `${id}-title`}, title), children));
}
const told = (text) => (text ? el('p', {class: 'told'}, text) : null);
const factTable = (rows) => el('div', {class: 'scroll'},
  el('table', {class: 'facts'}, el('tbody', null, rows.map(([name, text]) =>
    el('tr', null, el('th', {scope: 'row'}, name), el('td', null, text))))));

// Curves -----------------------------------------------------------------------

const MARGIN = {top: 12, right: 10, bottom: 24, left: 52};
const HEIGHT = 220;
const SMOOTHED = 48; // Points from which a line of training is smoothed.

// Returns round numbers that divide a range.
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) {
    found.push(k * step + 0); // No -0.
  }
  return found;
}
function logTicks(low, high) {
  const found = [];
  const decades = Math.log10(high / low);
  const digits = decades > 4 ? [1] : decades > 1.2 ? [1, 3] : [1, 2, 3, 5, 7];
  for (let k = Math.floor(Math.log10(low)); k <= Math.log10(high); k++) {
    for (const digit of digits) {
      const value = digit * 10 ** k;
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found.length > 1 ? found : [low, high];
}

const BYTES = ['B', 'kB', 'MB', 'GB', 'TB'];
function shown(curve, value) {
  if (value === null || value === undefined) return 'not finite';
  if (curve.unit === 'fraction') return percent(value, 2);
  if (curve.unit === 'bytes') {
    const k = value ? Math.min(4, Math.floor(Math.log10(value) / 3)) : 0;
    return `${number(value / 1000 ** k)} ${BYTES[k]}`;
  }
  return number(value);
}
function onAxis(curve, value) {
  if (curve.unit === 'fraction') return `${number(100 * value, 3)} %`;
  if (curve.unit === 'bytes') return shown(curve, value);
  if (value && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) {
    return value.toExponential(1).replace('.0e', 'e').replace('e+', 'e');
  }
  return value.toLocaleString('en-US', {maximumSignificantDigits: 4});
}

// Returns the mean of the values around each, as learning_curve.png has it.
const half = (length) => Math.floor(length / 16);
function smoothed(values) {
  const reach = half(values.length);
  return values.map((value, place) => {
    if (value === null) return null;
    const near = values.slice(Math.max(place - reach, 0), place + reach + 1)
      .filter((each) => each !== null);
    return near.reduce((a, b) => a + b, 0) / near.length;
  });
}

function makeChart(curve, marks) {
  const steps = curve.series.flatMap((series) => series.steps);
  const values = curve.series.flatMap((series) => series.values)
    .filter((value) => value !== null);
  const positive = values.filter((value) => value > 0);
  const canBeLog = curve.log && positive.length > 1;
  let isLog = false;
  let scale = null; // Of the drawing: x, y, and the width.
  const plot = el('div', {
    class: 'plot', tabindex: 0, role: 'group',
    'aria-label': `${curve.title}: left and right keys move along the steps`,
  });
  const tip = el('div', {class: 'tip', hidden: true});
  const live = el('span', {class: 'hidden', role: 'status'});
  const toggle = el('button', {type: 'button', 'aria-pressed': 'false',
    'aria-label': `Logarithmic scale of ${curve.title}`, onclick: () => {
      isLog = !isLog;
      toggle.setAttribute('aria-pressed', String(isLog));
      draw();
    }}, 'log scale');
  const names = {train: 'train', eval: 'evaluation'};
  const isMany = (series) => series.split === 'train' &&
    curve.series.length > 1 && series.steps.length >= SMOOTHED;
  const several = curve.series.some((each) => each.split === 'eval');
  const figure = el('figure', {class: 'chart', 'data-curve': curve.name},
    el('div', {class: 'chart-head'}, el('h3', null, curve.title),
      several && curve.series.map((series) =>
        el('span', {class: `key ${series.split}`}, names[series.split],
          isMany(series) && ` (mean of ${2 * half(series.steps.length) + 1})`)),
      curve.best !== null && el('span', {class: 'key best'},
        `best, step ${number(curve.best)}`),
      canBeLog && toggle),
    plot, live, valuesTable());
  let cursor = null; // Index into `all`.
  const all = [...new Set(steps)].sort((a, b) => a - b);

  function valuesTable() {
    const fill = () => {
      if (details.querySelector('table')) return;
      const rows = curve.series.flatMap((series) => series.steps.map((step, k) =>
        el('tr', null, el('td', {class: 'number'}, number(step)),
          el('td', null, names[series.split]),
          el('td', {class: 'number', 'data-value': series.values[k]},
            shown(curve, series.values[k])))));
      details.append(el('div', {class: 'scroll', tabindex: 0},
        el('table', null, el('thead', null, el('tr', null,
          el('th', {scope: 'col', class: 'number'}, 'step'),
          el('th', {scope: 'col'}, 'split'),
          el('th', {scope: 'col', class: 'number'}, curve.title))),
        el('tbody', null, rows))));
    };
    const part = curve.series.filter((s) => s.total > s.steps.length)
      .map((s) => ` ${number(s.steps.length)} of ${number(s.total)} points` +
        ` of ${names[s.split]}: the extremes of each stretch.`);
    const details = el('details', {class: 'values', ontoggle: fill},
      el('summary', null, 'Values', part.length ? ` (${part.join('').trim()})` : ''));
    return details;
  }

  function draw() {
    const width = Math.max(plot.clientWidth, 200);
    const used = isLog ? positive : values;
    let [low, high] = [Math.min(...used), Math.max(...used)];
    if (!used.length) [low, high] = [0, 1];
    if (isLog) {
      [low, high] = [low / 1.08, high * 1.08];
    } else {
      if (low > 0 && low < 0.6 * high) low = 0;
      if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 2,
        high + (Math.abs(high) || 1) / 2];
      if (curve.unit === 'fraction' && high > 0.5 && high <= 1) high = 1;
      else high += (high - low) * 0.04;
    }
    const last = Math.max(...steps, 1);
    const first = Math.min(0, ...steps);
    const inner = {
      width: width - MARGIN.left - MARGIN.right,
      height: HEIGHT - MARGIN.top - MARGIN.bottom,
    };
    const [bottom, top] = isLog ? [Math.log(low), Math.log(high)] : [low, high];
    const x = (step) =>
      MARGIN.left + inner.width * (step - first) / (last - first || 1);
    const y = (value) => MARGIN.top + inner.height *
      (top - (isLog ? Math.log(value) : value)) / (top - bottom || 1);
    scale = {x, y, width};
    const drawing = svg('svg', {
      viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: 'img',
      'aria-label': summary(), 'data-first': first, 'data-last': last,
      'data-low': low, 'data-high': high, 'data-log': String(isLog),
      'data-left': MARGIN.left, 'data-top': MARGIN.top,
      'data-width': inner.width, 'data-height': inner.height,
    });
    for (const value of isLog ? logTicks(low, high) : ticks(low, high, 4)) {
      drawing.append(
        svg('line', {class: 'grid', x1: MARGIN.left, x2: width - MARGIN.right,
          y1: y(value), y2: y(value)}),
        svg('text', {class: 'tick', x: MARGIN.left - 7, y: y(value) + 4,
          'text-anchor': 'end'}, onAxis(curve, value)));
    }
    for (const step of ticks(first, last, width < 420 ? 3 : 5)) {
      if (step !== Math.round(step)) continue;
      drawing.append(svg('text', {class: 'tick', x: x(step), y: HEIGHT - 6,
        'text-anchor': x(step) > width - 40 ? 'end' : 'middle'}, number(step)));
    }
    for (const mark of marks) {
      if (mark.step < first || mark.step > last) continue;
      const at = x(mark.step);
      drawing.append(svg('g', {class: 'a-mark', 'data-step': mark.step},
        svg('title', null, mark.text),
        svg('line', {class: 'mark', x1: at, x2: at, y1: MARGIN.top,
          y2: HEIGHT - MARGIN.bottom}),
        svg('path', {class: 'mark-head',
          d: `M${at - 5} ${MARGIN.top - 8}h10l-5 8z`})));
    }
    for (const series of curve.series) drawLine(drawing, series);
    if (curve.best !== null) drawBest(drawing);
    drawing.append(svg('line', {class: 'cursor', y1: MARGIN.top,
      y2: HEIGHT - MARGIN.bottom, visibility: 'hidden'}));
    plot.replaceChildren(drawing, tip);
    tip.hidden = true;
  }

  function pathOf(series, drawn) {
    let isOpen = false;
    return series.steps.map((step, k) => {
      const value = drawn[k];
      if (value === null || (isLog && value <= 0)) {
        isOpen = false;
        return '';
      }
      const letter = isOpen ? 'L' : 'M';
      isOpen = true;
      return `${letter}${scale.x(step).toFixed(2)} ${scale.y(value).toFixed(2)}`;
    }).join('');
  }

  function drawLine(drawing, series) {
    const group = svg('g', {class: series.split});
    group.append(svg('path', {class: isMany(series) ? 'line faint' : 'line',
      'data-series': series.split, d: pathOf(series, series.values)}));
    if (isMany(series)) {
      group.append(svg('path', {class: 'line',
        d: pathOf(series, smoothed(series.values))}));
    }
    if (series.steps.length <= 40 && (series.split === 'eval' ||
        series.steps.length <= 3)) {
      series.steps.forEach((step, k) => {
        const value = series.values[k];
        if (value === null || (isLog && value <= 0)) return;
        group.append(svg('circle', {class: 'point', r: 3.2,
          cx: scale.x(step), cy: scale.y(value)}));
      });
    }
    drawing.append(group);
  }

  function drawBest(drawing) {
    const series = curve.series.find((each) => each.split === 'eval');
    const value = series.values[series.steps.indexOf(curve.best)];
    if (value === null || value === undefined || (isLog && value <= 0)) return;
    const [at, up] = [scale.x(curve.best), scale.y(value)];
    drawing.append(svg('path', {class: 'diamond', 'data-best': curve.best,
      d: `M${at} ${up - 7}l7 7l-7 7l-7 -7z`}));
  }

  function summary() {
    return `${curve.title}: ` + curve.series.map((series) =>
      `${names[series.split]}, ${number(series.total)} points, last ` +
      shown(curve, series.values[series.values.length - 1])).join('; ');
  }

  function point(index) {
    cursor = Math.max(0, Math.min(all.length - 1, index));
    const step = all[cursor];
    const line = plot.querySelector('.cursor');
    const at = scale.x(step);
    line.setAttribute('x1', at);
    line.setAttribute('x2', at);
    line.setAttribute('visibility', 'visible');
    const rows = curve.series.filter((each) => each.steps.includes(step))
      .map((series) => [series.split,
        `${several ? `${names[series.split]} ` : ''}`,
        shown(curve, series.values[series.steps.indexOf(step)])]);
    const here = marks.filter((mark) => mark.step === step);
    tip.replaceChildren(
      el('div', {class: 'soft'}, `step ${number(step)}`),
      ...rows.map(([split, name, text]) => el('div', {class: split},
        name && el('span', {class: 'key'}, name), el('b', null, text))),
      ...here.map((mark) => el('div', {class: 'soft'}, mark.text)));
    tip.hidden = false;
    const room = scale.width - tip.offsetWidth;
    tip.style.left = `${at > scale.width / 2 ?
      Math.max(0, at - tip.offsetWidth - 10) : Math.min(room, at + 10)}px`;
    live.textContent = `step ${number(step)}: ` +
      rows.map(([, name, text]) => `${name}${text}`).join(', ');
  }
  function leave() {
    tip.hidden = true;
    const line = plot.querySelector('.cursor');
    if (line) line.setAttribute('visibility', 'hidden');
  }
  function near(event) {
    const left = plot.getBoundingClientRect().left;
    const place = event.clientX - left;
    let found = 0;
    all.forEach((step, k) => {
      if (Math.abs(scale.x(step) - place) < Math.abs(scale.x(all[found]) - place)) {
        found = k;
      }
    });
    point(found);
  }
  plot.addEventListener('pointermove', near);
  plot.addEventListener('pointerdown', near);
  plot.addEventListener('pointerleave', leave);
  plot.addEventListener('blur', leave);
  plot.addEventListener('focus', () => {
    if (plot.matches(':focus-visible')) point(cursor === null ? all.length - 1 : cursor);
  });
  const KEYS = {ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10,
    Home: -Infinity, End: Infinity};
  plot.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') return leave();
    if (!(event.key in KEYS)) return undefined;
    event.preventDefault();
    return point((cursor ?? all.length - 1) + KEYS[event.key]);
  });
  let before = 0;
  new ResizeObserver(() => {
    if (plot.clientWidth !== before) {
      before = plot.clientWidth;
      draw();
    }
  }).observe(plot);
  return figure;
}

const charts = (curves) => el('div', {class: 'charts'},
  curves.filter((curve) => curve.series.length)
    .map((curve) => makeChart(curve, data.marks)));

function drawCurves() {
  if (!data.curves.length) {
    section('curves', 'Curves', told('No metrics have been logged yet.'));
    return;
  }
  const listed = data.marks.length ?
    el('p', {class: 'told marks'}, data.marks.map((m) => m.text).join(', ')) : null;
  section('curves', 'Curves', told(data.training_note), charts(data.curves), listed);
}

// Where the time went ----------------------------------------------------------

function drawTime() {
  const time = data.time;
  if (!time && !data.speed.length) {
    section('time', 'Speed and time',
      told('Nothing is known of it: this run has no timings.jsonl.'));
    return;
  }
  const parts = time && el('div', {class: 'two'},
    el('div', null, el('table', null, el('tbody', null,
      time.parts.map((part, k) => el('tr', null,
        el('td', null, el('span', {class: `swatch part-${k}`}), part.name),
        el('td', {class: 'number'}, part.text),
        el('td', {class: 'number'}, percent(part.seconds / time.total))))))),
    el('div', null, factTable(time.rows)));
  const bar = time && el('div', {class: 'bar', role: 'img',
    'aria-label': 'Time since the first start, by what it was spent on: ' +
      time.parts.map((p) => `${p.name} ${p.text}`).join(', ')},
  time.parts.map((part, k) => {
    const piece = el('span', {class: `part-${k}`, title: `${part.name}: ${part.text}`});
    piece.style.flexGrow = part.seconds / time.total;
    return piece;
  }));
  section('time', 'Speed and time', bar, parts,
    data.speed.length && el('h3', {class: 'hidden'}, 'Curves of speed'),
    data.speed.length && charts(data.speed));
}

// Classes ----------------------------------------------------------------------

function drawClasses() {
  const table = data.classes;
  if (table.reason) {
    section('classes', 'Classes', told(table.reason));
    return;
  }
  const columns = [
    {name: 'Class'}, {name: 'Images', number: true},
    {name: 'Predicted', number: true}, {name: 'Recognised', number: true},
    {name: 'Precision', number: true}, {name: 'F1', number: true},
  ];
  const num = (value, text, bar) => ({value,
    cell: el('td', {class: 'number'}, bar, text)});
  const rows = table.names.map((name, k) => {
    const accuracy = table.accuracy_of[k];
    const measure = el('i');
    measure.style.width = `${100 * (accuracy || 0)}%`;
    return [
      {value: name, cell: el('td', null, name)},
      num(table.count[k], number(table.count[k])),
      num(table.predicted[k], number(table.predicted[k])),
      num(accuracy, el('span', {class: 'fixed'}, percent(accuracy)),
        el('span', {class: 'measure'}, measure)),
      num(table.precision[k], percent(table.precision[k])),
      num(table.f1[k], number(table.f1[k], 3)),
    ];
  });
  const FIRST = 50;
  const body = el('table', {id: 'per-class'});
  const sorted = page.sortable(body, columns, rows, FIRST);
  sorted.sort(3, 'ascending');
  const more = rows.length > FIRST ? el('button', {type: 'button', onclick: () => {
    sorted.showAll();
    more.remove();
  }}, `Show all ${number(rows.length)} classes`) : null;
  const summary = table.summary;
  section('classes', 'Classes', told(table.told),
    el('p', null, `${percent(table.accuracy, 2)} recognised; mean over classes ` +
      `${percent(summary.mean_per_class_accuracy, 2)}, worst class ` +
      `${percent(summary.worst_class_accuracy, 2)}, macro F1 ` +
      `${number(summary.macro_f1, 4)}.`),
    el('div', {class: 'scroll', tabindex: 0, role: 'region',
      'aria-label': 'Table of classes'}, body), more);
}

function drawConfusion() {
  const found = data.confusion;
  if (!found) return;
  const {names, counts, totals} = found;
  const columns = counts[0].length > names.length ?
    [...names, 'all others'] : names;
  const isTall = columns.some((name) => name.length > 3);
  const output = el('p', {id: 'cell', role: 'status'}, ' ');
  const say = (row, column) => {
    const count = counts[row][column];
    output.textContent = `${names[row]} taken for ${columns[column]}: ` +
      `${number(count)} of ${number(totals[row])}` +
      (totals[row] ? ` (${percent(count / totals[row])})` : '');
  };
  const cells = [];
  const body = counts.map((line, row) => {
    cells.push([]);
    return el('tr', null, el('th', {scope: 'row', title: names[row]}, names[row]),
      line.map((count, column) => {
        const fraction = totals[row] ? count / totals[row] : 0;
        const cell = el('td', {
          tabindex: row + column ? -1 : 0, 'data-count': count,
          'aria-label': `${names[row]} taken for ${columns[column]}: ${number(count)}`,
          onpointerenter: () => say(row, column), onfocus: () => say(row, column),
        }, count ? (count < 10000 ? String(count) :
          `${Math.round(count / 1000)}k`) : '');
        if (count) {
          const shade = row === column ? 'var(--blue)' : 'var(--red)';
          const share = 12 + 88 * Math.sqrt(fraction);
          cell.style.background =
            `color-mix(in srgb, ${shade} ${share.toFixed(1)}%, var(--card))`;
          if (share > 62) cell.style.color = 'var(--card)';
        }
        cells[row].push(cell);
        return cell;
      }));
  });
  const MOVES = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1],
    ArrowRight: [0, 1]};
  const matrix = el('table', {class: 'matrix', id: 'confusion-matrix',
    onkeydown: (event) => {
      if (!(event.key in MOVES)) return;
      event.preventDefault();
      cells.forEach((line, row) => line.some((cell, column) => {
        if (cell !== event.target) return false;
        const [down, right] = MOVES[event.key];
        const next = (cells[row + down] || [])[column + right];
        if (next) {
          cell.tabIndex = -1;
          next.tabIndex = 0;
          setTimeout(() => next.focus());
        }
        return true;
      }));
    }},
  el('caption', {class: 'hidden'}, 'Rows: true classes; columns: predictions.'),
  el('thead', null, el('tr', null, el('td', {class: 'corner'}), columns.map((name) => el('th', {scope: 'col', title: name,
    class: isTall ? 'tall' : null}, el('span', null, name))))),
  el('tbody', null, body));
  const kind = names.length < found.num_classes ?
    `The ${names.length} classes that are confused most often, of ` +
    `${number(found.num_classes)}. ` : '';
  section('confusion', 'Confusion matrix',
    told(`${kind}Rows: true classes; columns: predictions. Blue: recognised; ` +
      'orange: mistakes; the stronger, the larger the fraction of the class.'),
    el('div', {class: 'beside'}, el('div', null,
      el('div', {class: 'scroll'}, matrix), output), pairs(found)));
}

function pairs(found) {
  if (!found.pairs.length) return null;
  return el('div', null, el('h3', null, 'Most frequent mistakes'),
    el('div', {class: 'scroll'}, el('table', {id: 'pairs'}, el('thead', null, el('tr', null,
      el('th', {scope: 'col'}, 'True'), el('th', {scope: 'col'}, 'Taken for'),
      el('th', {scope: 'col', class: 'number'}, 'Images'),
      el('th', {scope: 'col', class: 'number'}, 'Of the class'))),
    el('tbody', null, found.pairs.map((pair) => el('tr', null,
      el('td', null, pair.true), el('td', null, pair.predicted),
      el('td', {class: 'number'}, number(pair.count)),
      el('td', {class: 'number'}, percent(pair.count / pair.total))))))));
}

// Returns the end of a path, and which record of it.
function short(text, length = 44) {
  const [, record, path] = text.match(/^(record \d+ of )?(.*)$/s);
  const last = path.split('/').slice(-2).join('/');
  return (record || '') + (last.length <= length ? last :
    `${last.slice(0, length / 2 - 1)}…${last.slice(-length / 2)}`);
}

function drawMistakes() {
  const found = data.mistakes;
  if (!found) return;
  const items = found.rows.map((row) => {
    const image = row.picture ? el('img', {src: row.picture, alt: '',
      decoding: 'async', onload: (event) => event.target.classList.toggle(
        'small', event.target.naturalWidth < 120)}) :
      el('div', {class: 'gone'}, 'not readable');
    return el('li', null, el('figure', null, image, el('figcaption', null,
      el('span', {class: 'wrong'}, `✗ ${row.predicted}`),
      ` ${percent(row.confidence, 0)}`, el('br'),
      el('span', {class: 'right'}, `✓ ${row.true}`),
      ` ${percent(row.true_probability, 0)}`,
      el('span', {class: 'where', title: row.where}, short(row.where)))));
  });
  section('mistakes', 'Worst mistakes',
    told(found.count ? `${number(found.count)} in all; the most confident ` +
      'first, as the model sees them. ✗: prediction, ✓: true class, each with ' +
      'its probability.' : 'None: all images are recognised.'),
    el('ul', {class: 'pictures'}, items));
}

// Data, configuration, environment ---------------------------------------------

function drawData() {
  const found = data.data;
  const balance = found.balance;
  let table = null;
  if (balance) {
    const kinds = Object.keys(balance.splits);
    const most = Object.fromEntries(kinds.map(
      (kind) => [kind, Math.max(...balance.splits[kind], 1)]));
    const heads = {train: 'Training images', eval: 'Evaluation images'};
    table = [
      el('h3', null, 'Images of each class'),
      told(`${balance.told}. ${balance.names.length < balance.num_classes ?
        'Drawn: the most and the least frequent classes.' : ''}`),
      el('div', {class: 'scroll'}, el('table', {class: 'balance', id: 'balance'},
        el('thead', null, el('tr', null, el('th', {scope: 'col'}, 'Class'),
          kinds.map((kind) => [el('th', {scope: 'col', class: 'number'}, heads[kind]),
            el('td', {style: 'width: 28%'})]))),
        el('tbody', null, balance.names.map((name, k) => el('tr', null,
          el('th', {scope: 'row'}, name), kinds.map((kind) => {
            const count = balance.splits[kind][k];
            const track = el('span', {class: 'track'});
            track.style.width = `${100 * count / most[kind]}%`;
            return [el('td', {class: 'number', 'data-count': count}, number(count)),
              el('td', {class: kind}, track)];
          }))))))];
  }
  section('data', 'Data', found.problems.map((text) => el('p', {class: 'note'},
    `Not to be read here: ${text}`)), found.rows.length && factTable(found.rows), table);
  const bad = data.bad_examples;
  if (bad && bad.count) {
    const rest = bad.count - bad.rows.length;
    section('bad', 'Bad examples',
      told(`${number(bad.count)} could not be used, and were left out.` +
        (rest ? ` The first ${number(bad.rows.length)}:` : '')),
      factTable(bad.rows.map((row) => [row.where, row.problem])));
  }
}

function drawConfig() {
  if (!data.config.length) return;
  const count = data.config.filter((row) => row.differs).length;
  const rows = data.config.map((row) => el('tr', {
    class: row.differs ? 'differs' : 'hidden-row'},
  el('td', null, el('code', null, row.field)),
  el('td', {class: 'value code'}, row.value),
  el('td', {class: 'soft code'}, row.differs ? row.default : '')));
  const body = el('tbody', null, rows);
  const toggle = el('button', {type: 'button', 'aria-pressed': 'false',
    onclick: () => {
      const all = toggle.getAttribute('aria-pressed') !== 'true';
      toggle.setAttribute('aria-pressed', String(all));
      rows.forEach((row, k) => {
        if (!data.config[k].differs) row.classList.toggle('hidden-row', !all);
      });
    }}, `All ${number(data.config.length)} fields`);
  section('configuration', 'Configuration',
    el('div', {class: 'tools'}, el('span', {class: 'told'},
      `${number(count)} fields differ from their defaults.`), toggle),
    el('div', {class: 'scroll'}, el('table', {id: 'config'},
      el('thead', null, el('tr', null, el('th', {scope: 'col'}, 'Field'),
        el('th', {scope: 'col'}, 'Value'), el('th', {scope: 'col'}, 'Default'))),
      body)));
}

function drawEnvironment() {
  const rows = data.environment;
  section('environment', 'Environment', rows.length ? factTable(rows) :
    told('Not known: this run has no logs (WORKDIR/logs).'));
  const found = data.warnings;
  const body = el('table', null, el('thead', null, el('tr', null,
    ['Last', 'Times', 'Process', 'Line'].map((name, k) => el('th', {scope: 'col',
      class: k === 1 || k === 2 ? 'number' : null}, name)))),
  el('tbody', null, found.rows.map((row) => el('tr', null,
    el('td', {class: 'soft'}, row.time.slice(0, 19).replace('T', ' ')),
    el('td', {class: 'number'}, number(row.count)),
    el('td', {class: 'number'}, number(row.process)), el('td', null, row.text)))));
  section('warnings', 'Warnings', found.rows.length ?
    [el('div', {class: 'scroll'}, body), found.num_left_out ?
      told(`and ${number(found.num_left_out)} more in WORKDIR/logs`) : null] :
    told(found.has_logs ? 'None.' : 'Not known: this run has no logs.'));
}

// The whole --------------------------------------------------------------------

document.getElementById('head').append(el('div', null,
  el('div', {class: 'title'}, el('h1', null, data.name),
    el('span', {class: `state ${data.state.kind}`}, data.state.text)),
  el('p', {class: 'path soft code'}, data.path),
  data.state.note && el('p', {class: 'note'}, data.state.note),
  data.problems.map((text) => el('p', {class: 'note', role: 'alert'}, text)),
  data.tiles.length > 0 && el('ul', {class: 'tiles'}, data.tiles.map((tile) =>
    el('li', null, el('span', {class: 'label'}, tile.label),
      el('span', {class: 'value'}, tile.value),
      el('span', {class: 'more'}, tile.note))))));
drawCurves();
drawClasses();
drawConfusion();
drawMistakes();
drawTime();
drawData();
drawConfig();
drawEnvironment();
document.getElementById('contents').append(...sections.map(([id, title]) =>
  el('li', null, el('a', {href: `#${id}`}, title))));
document.getElementById('foot').append(
  `Written ${data.made} by vit_jax ${data.version}.`);
