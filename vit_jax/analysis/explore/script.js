// Where a Vision Transformer looks: the page of `vit_jax explore`.
(() => {
  const {data, el, svg, number, percent} = page;
  const COLORS = page.array(data.colors);
  const SQUARES = Float32Array.from({length: data.levels + 1},
    (_, code) => (code / data.levels) ** 2);
  const POOLED = -1; // In place of a token: what the model pools.
  const POOLED_NAMES = {average: 'average of all tokens',
    attention: 'attention pooling'};
  const byId = (id) => document.getElementById(id);

  // What is shown. `place` is where a query or cursor is: the number of a
  // token before the patches, or {row, column} as fractions of the picture,
  // so that grids of several models have one.
  const state = {
    layer: 1, kind: 'mean', head: 0, from: true, root: false, strength: 0.9,
    smooth: false, same: false, compare: false,
    query: null, base: null, held: false, cursor: null,
  };

  // Weights --------------------------------------------------------------------

  const views = data.views.map((view) => {
    const [rows, columns] = view.grid;
    const pooling = page.array(view.pooling);
    return {
      ...view, rows, columns, pooling, tokens: pooling.length,
      first: pooling.length - rows * columns, // The first patch.
      of: data.models[view.model], unpacked: new Map(),
    };
  });

  // Returns {largest, codes} of a layer, decompressed once it is asked for.
  function unpack(view, index) {
    if (!view.unpacked.has(index)) {
      view.unpacked.set(index, inflate(page.array(view.weights[index]))
        .then((bytes) => {
          const rows = bytes.length / (4 + view.tokens);
          return {largest: new Float32Array(bytes.buffer, 0, rows),
            codes: bytes.subarray(4 * rows)};
        }));
    }
    return view.unpacked.get(index);
  }
  async function inflate(bytes) {
    const stream = new Blob([bytes]).stream()
      .pipeThrough(new DecompressionStream('deflate'));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // Returns the weight in a map of a layer that a query gives to a token.
  function weight(view, layer, map, query, token) {
    const row = map * view.tokens + query;
    return layer.largest[row] * SQUARES[layer.codes[row * view.tokens + token]];
  }
  // Returns the weights of a map that concern one token: those that it gives,
  // or those that it is given.
  function weights(view, layer, map, token) {
    const found = new Float32Array(view.tokens);
    for (let other = 0; other < view.tokens; other++) {
      if (token !== POOLED) {
        found[other] = state.from ? weight(view, layer, map, token, other) :
          weight(view, layer, map, other, token);
        continue;
      }
      const part = view.pooling[other];
      if (!part) continue;
      for (let key = 0; key < view.tokens; key++) {
        found[key] += part * weight(view, layer, map, other, key);
      }
    }
    return found;
  }
  const layerIndex = (view) => view.layers.reduce((best, layer, index) =>
    Math.abs(layer - state.layer) < Math.abs(view.layers[best] - state.layer) ?
      index : best, 0);
  function mapOf(view) {
    const count = view.heads[0].length;
    if (state.kind === 'head' && count) return Math.min(state.head, count - 1);
    return count + (state.kind === 'rollout' ? 1 : 0); // Behind the heads.
  }

  // Tokens and places ------------------------------------------------------------

  function tokenAt(view, place) {
    if (place === null) return null;
    if (place === POOLED) return poolsToken(view) ? 0 : POOLED;
    if (typeof place === 'number') return Math.min(place, view.first - 1);
    const row = Math.min(view.rows - 1, Math.floor(place.row * view.rows));
    const column =
      Math.min(view.columns - 1, Math.floor(place.column * view.columns));
    return view.first + row * view.columns + column;
  }
  function placeOf(view, token) {
    if (token < view.first) return token;
    const patch = token - view.first;
    return {row: (Math.floor(patch / view.columns) + 0.5) / view.rows,
      column: (patch % view.columns + 0.5) / view.columns};
  }
  const poolsToken = (view) => view.of.pooling === 'class_token';
  function nameOf(view, token) {
    if (token === POOLED) return `the ${POOLED_NAMES[view.of.pooling]}`;
    if (token >= view.first) {
      const patch = token - view.first;
      return `the patch in row ${Math.floor(patch / view.columns) + 1}, ` +
        `column ${patch % view.columns + 1}`;
    }
    if (poolsToken(view) && token === 0) return 'the class token';
    return `the extra token ${token + (poolsToken(view) ? 0 : 1)}`;
  }
  const isPatch = (view, token) => token !== null && token >= view.first;
  const fits = (view, place) => typeof place !== 'number' ||
    (place === POOLED ? poolsToken(view) || state.from : place < view.first);

  // Drawing ----------------------------------------------------------------------

  // Returns which colour, 0 to 255, a weight has where `most` is the brightest.
  function shade(value, most) {
    const part = most > 0 ? Math.min(1, value / most) : 0;
    return Math.round(255 * (state.root ? Math.sqrt(part) : part));
  }
  function paint(canvas, view, found, most, isOver = false) {
    const context = canvas.getContext('2d');
    const image = context.createImageData(view.columns, view.rows);
    for (let patch = 0; patch < view.rows * view.columns; patch++) {
      const color = 3 * shade(found[view.first + patch], most);
      // Where little is, the picture is seen.
      image.data.set([COLORS[color], COLORS[color + 1], COLORS[color + 2],
        isOver ? 85 + 0.45 * color / 3 : 255], 4 * patch);
    }
    context.putImageData(image, 0, 0);
  }
  function largest(view, found) {
    let most = 0;
    for (let token = view.first; token < view.tokens; token++) {
      most = Math.max(most, found[token]);
    }
    return most;
  }
  function outline(box, view, token) {
    box.hidden = !isPatch(view, token);
    if (box.hidden) return;
    const patch = token - view.first;
    Object.assign(box.style, {
      left: `${100 * (patch % view.columns) / view.columns}%`,
      top: `${100 * Math.floor(patch / view.columns) / view.rows}%`,
      width: `${100 / view.columns}%`, height: `${100 / view.rows}%`,
    });
  }

  // Controls -----------------------------------------------------------------------

  const depth = Math.max(...data.models.map((model) => model.depth));
  const stored = [...new Set(views.flatMap((view) => view.layers))]
    .sort((a, b) => a - b);
  const mostHeads = Math.max(...views.map((view) => view.heads[0].length));

  const group = (legend, name, ...children) => el('fieldset', {class: name},
    el('legend', null, legend), el('div', {class: 'row'}, children));
  function radios(name, legend, choices) {
    return group(legend, 'radios',
      choices.map(([value, text, key]) => el('label', null,
        el('input', {type: 'radio', name, value: String(value), class: 'hidden',
          checked: state[name] === value,
          onchange: () => change({[name]: value})}),
        el('span', {title: key && `key ${key}`}, text))));
  }
  const ticked = (name, text, title) => el('label', {class: 'tick', title},
    el('input', {type: 'checkbox', name, checked: state[name],
      onchange: (event) => change({[name]: event.target.checked})}), text);

  function layerSlider() {
    const step = (by) => el('button', {type: 'button', class: 'step',
      'aria-label': by < 0 ? 'Layer before' : 'Layer after',
      onclick: () => stepLayer(by)}, by < 0 ? '−' : '+');
    return group(['Layer ', el('output', {id: 'layer-shown'})], 'layer', step(-1),
      el('input', {type: 'range', id: 'layer', min: 0, max: stored.length - 1,
        'aria-label': 'Layer',
        oninput: (event) => change({layer: stored[event.target.value]})}),
      step(1));
  }
  function stepLayer(by) {
    const index = stored.indexOf(state.layer) + by;
    if (index >= 0 && index < stored.length) change({layer: stored[index]});
  }
  function stepHead(by) {
    if (!mostHeads) return;
    const head = state.kind === 'head' ? state.head + by : state.head;
    change({kind: 'head', head: (head + mostHeads) % mostHeads});
  }

  function buildControls() {
    const kinds = [['mean', 'Mean of heads', 'M'], ['rollout', 'Rollout', 'R']];
    if (mostHeads) kinds.unshift(['head', 'One head', 'H']);
    const hasPooling =
      data.models.some((model) => model.pooling === 'attention');
    if (hasPooling) kinds.push(['pooling', 'Pooling', 'P']);
    byId('controls').append(
      layerSlider(),
      radios('kind', 'Attention', kinds),
      radios('from', 'Direction',
        [[true, 'Where it looks', 'D'], [false, 'Who looks at it', 'D']]),
      el('details', null, el('summary', null, 'Display'),
        el('div', {class: 'more'},
          radios('root', 'Scale', [[false, 'Linear', 'S'], [true, 'Root', 'S']]),
          group('Map over picture', '', el('input', {type: 'range',
            id: 'strength', min: 0, max: 1, step: 0.05, value: state.strength,
            'aria-label': 'Strength of the map',
            oninput: (event) => change({strength: +event.target.value})})),
          group('Patches', 'ticks',
            ticked('smooth', 'Smooth', 'Blends the patches'),
            views.length < 2 ? null : ticked('same', 'Same scale',
              'The brightest colour is the same weight on both sides')))),
      ...(views.length < 2 ? [] :
        [ticked('compare', 'Side by side', 'key C')]));
    byId('controls').addEventListener('submit',
      (event) => event.preventDefault());
  }

  function showControls() {
    byId('layer').value = stored.indexOf(state.layer);
    byId('layer').setAttribute('aria-valuetext', `${state.layer} of ${depth}`);
    byId('layer-shown').textContent = `${state.layer} of ${depth}`;
    for (const name of ['kind', 'from', 'root']) {
      for (const input of document.getElementsByName(name)) {
        input.checked = input.value === String(state[name]);
      }
    }
    for (const name of ['smooth', 'compare', 'same']) {
      for (const input of document.getElementsByName(name)) {
        input.checked = state[name];
      }
    }
  }

  // Panels -------------------------------------------------------------------------

  // A panel shows one view at a time.
  function makePanel(number, start) {
    const parts = {
      photo: el('img', {class: 'photo', alt: '', draggable: 'false'}),
      plain: el('img', {class: 'plain', alt: 'The image without a map'}),
      heat: el('canvas', {class: 'heat'}),
      query: el('div', {class: 'box'}),
      cursor: el('div', {class: 'box cursor'}),
      chips: el('div', {class: 'chips', role: 'group',
        'aria-label': 'Tokens that are no patches'}),
      readout: el('p', {class: 'readout'}),
      caption: el('p', {class: 'caption'}),
      least: el('span'), most: el('span'), even: el('span', {class: 'even'}), mark: el('span', {class: 'mark'}),
      bar: el('canvas', {class: 'bar', width: 256, height: 1}),
      heads: el('div', {class: 'heads', role: 'group', 'aria-label': 'Heads'}),
      headsTitle: el('h3'), plot: el('div', {class: 'plot'}),
      facts: el('p', {class: 'soft facts'}),
      classes: el('ol', {class: 'classes'}),
      chooser: el('div', {class: 'chooser'}),
    };
    const stage = el('div', {class: 'stage', tabindex: 0, role: 'application',
      'aria-roledescription': 'attention map'},
    parts.photo, parts.heat, parts.query, parts.cursor);
    const scale = el('div', {class: 'scale'}, parts.bar, parts.mark,
      el('div', {class: 'ends'}, parts.least, parts.even, parts.most));
    const root = el('section', {class: 'card panel'},
      el('div', {class: 'look'}, parts.chooser, parts.caption, stage,
        scale, parts.readout, parts.chips),
      el('div', {class: 'side'},
        el('div', {class: 'seen'}, parts.plain,
          el('div', {class: 'classes-of'}, el('h3', null, 'Top classes'),
            parts.classes)),
        el('div', {class: 'heads-of'}, parts.headsTitle, parts.heads),
        el('div', null, el('h3', null, 'How far heads look'), parts.plot,
          parts.facts)));
    const panel = {...parts, stage, root, number, view: start, ready: false};
    listen(panel);
    return panel;
  }

  function setView(panel, view) {
    panel.view = view;
    panel.photo.src = panel.plain.src = view.source;
    panel.photo.alt = view.name;
    const aspect = view.size[1] / view.size[0];
    panel.stage.style.aspectRatio = aspect;
    panel.root.style.setProperty('--most', `${33 * aspect}rem`);
    panel.root.classList.toggle('coarse', Math.max(...view.size) <= 64);
    panel.heat.width = view.columns;
    panel.heat.height = view.rows;
    panel.root.setAttribute('aria-label', `${view.of.name}, ${view.name}`);
    panel.classes.parentElement.hidden = !view.classes.length;
    panel.classes.replaceChildren(...view.classes.map(([name, probability]) =>
      el('li', null,
        el('bdi', {class: 'name', title: name}, name),
        el('span', {class: 'probability'}, percent(probability)),
        el('span', {class: 'amount', style: `width:${100 * probability}%`}))));
    fillChooser(panel);
    fillChips(panel);
    fillHeads(panel);
    fillPlot(panel);
  }

  function fillChooser(panel) {
    const {view} = panel;
    const select = (label, entries, key) => {
      if (entries.length < 2) return el('bdi', {class: 'chosen'}, entries[0][1]);
      return el('select', {'aria-label': label, onchange: (event) => {
        const wanted = {model: view.model, image: view.image,
          [key]: +event.target.value};
        setView(panel, views.find((each) => each.model === wanted.model &&
          each.image === wanted.image));
        draw();
      }}, entries.map(([index, name]) => el('option',
        {value: index, selected: index === view[key]}, name)));
    };
    const images = views.filter((each) => each.model === 0)
      .map((each) => [each.image, each.name]);
    panel.chooser.replaceChildren(
      select('Model', data.models.map((model, i) => [i, model.name]), 'model'),
      select('Image', images, 'image'));
  }

  // Buttons for the tokens that are no patches.
  function fillChips(panel) {
    const {view} = panel;
    const tokens = [...(poolsToken(view) ? [] : [POOLED]),
      ...Array(view.first).keys()];
    panel.chips.replaceChildren(...tokens.map((token) => {
      const button = el('button', {type: 'button', class: 'chip',
        onclick: () => pick(panel, token)},
      el('span', {class: 'swatch'}),
      el('span', null, nameOf(view, token).replace(/^the /, '')),
      el('span', {class: 'value'}));
      button.token = token;
      return button;
    }));
    panel.chips.append(el('button', {type: 'button', class: 'chip hold',
      title: 'Holds the patch; what is then pointed at is read (Enter)',
      onclick: () => toggleHold()}, 'Hold and read'));
  }

  function fillHeads(panel) {
    const count = panel.view.heads[0].length;
    panel.heads.parentElement.hidden = !count;
    panel.heads.replaceChildren(...Array.from({length: count}, (_, head) =>
      el('button', {type: 'button', class: 'head',
        onclick: () => change({kind: 'head', head})},
      el('canvas', {width: panel.view.columns, height: panel.view.rows,
        style: `aspect-ratio:${panel.view.size[1]}/${panel.view.size[0]}`}),
      el('span'))));
  }

  // A dot for each head over the layers, as the paper's figure 11.
  const PLOT = {width: 340, height: 150, left: 34, right: 8, top: 8, bottom: 26};
  function fillPlot(panel) {
    const {view} = panel;
    const farthest = Math.max(1e-6, ...view.distance.flat());
    const top = Math.ceil(farthest / view.of.patch) * view.of.patch;
    const depthOf = view.distance.length;
    const x = (layer) => PLOT.left + (layer - 0.5) / depthOf *
      (PLOT.width - PLOT.left - PLOT.right);
    const y = (distance) => PLOT.height - PLOT.bottom - distance / top *
      (PLOT.height - PLOT.top - PLOT.bottom);
    const slot = (PLOT.width - PLOT.left - PLOT.right) / depthOf;
    const every = Math.ceil(depthOf / 12);
    const dots = view.distance.flatMap((heads, i) => heads.map((distance, h) => {
      const dot = svg('circle', {cx: x(i + 1), cy: y(distance), r: 3.2,
        class: 'dot', onclick: () => pickDot(view, i + 1, h + 1)},
      svg('title', null, `layer ${i + 1}, head ${h + 1}: ` +
        `${number(distance, 3)} pixels, ${number(view.entropy[i][h], 3)} bits`));
      Object.assign(dot, {layer: i + 1, headNumber: h + 1});
      return dot;
    }));
    panel.column = svg('rect', {class: 'column', y: PLOT.top, width: slot,
      height: PLOT.height - PLOT.top - PLOT.bottom, rx: 4});
    panel.xOf = (layer) => x(layer) - slot / 2;
    panel.dots = dots;
    panel.plot.replaceChildren(svg('svg', {role: 'img',
      viewBox: `0 0 ${PLOT.width} ${PLOT.height}`,
      'aria-label': 'Mean attention distance of each head, by layer'},
    panel.column,
    [0, top / 2, top].map((value) => [
      svg('line', {class: 'grid', x1: PLOT.left, x2: PLOT.width - PLOT.right,
        y1: y(value), y2: y(value)}),
      svg('text', {x: PLOT.left - 6, y: y(value) + 4, class: 'end'},
        number(value, 3))]),
    Array.from({length: depthOf}, (_, i) => (i + 1) % every === 0 ||
      depthOf <= 12 ? svg('text', {x: x(i + 1), y: PLOT.height - 10,
        class: 'middle'}, i + 1) : null),
    dots));
  }
  function pickDot(view, layer, headNumber) {
    const index = view.layers.indexOf(layer);
    const head = index < 0 ? -1 : view.heads[index].indexOf(headNumber);
    if (head >= 0) change({layer, head, kind: 'head'});
  }

  // What the current state makes of a panel ----------------------------------------

  let drawing = 0;
  async function draw() {
    const turn = ++drawing;
    delete document.body.dataset.drawn;
    showControls();
    const layers = await Promise.all(panels.map(({view}) =>
      unpack(view, layerIndex(view))));
    if (turn !== drawing) return; // Something newer is to be drawn.
    const shown = panels.map((panel, i) => prepare(panel, layers[i]));
    const most = Math.max(...shown.map((each) => each.most));
    panels.forEach((panel, i) =>
      show(panel, {...shown[i], top: state.same ? most : shown[i].most}));
    document.body.dataset.drawn = '';
  }

  function prepare(panel, layer) {
    const {view} = panel;
    let query = tokenAt(view, state.query);
    if (!fits(view, state.query)) query = centre(view);
    const found = state.kind === 'pooling' ? view.pooling :
      weights(view, layer, mapOf(view), query);
    return {layer, query, found, most: largest(view, found)};
  }
  const centre = (view) => view.first +
    Math.floor(view.rows / 2) * view.columns + Math.floor(view.columns / 2);

  function show(panel, drawn) {
    const {view} = panel;
    paint(panel.heat, view, drawn.found, drawn.top, true);
    panel.heat.style.opacity = state.strength;
    panel.root.classList.toggle('smooth', state.smooth);
    panel.root.classList.toggle('held', state.held);
    const cursor = state.held ? tokenAt(view, state.cursor) : null;
    outline(panel.query, view, state.kind === 'pooling' ? null : drawn.query);
    outline(panel.cursor, view, cursor);
    showScale(panel, drawn);
    showText(panel, drawn, cursor);
    showChips(panel, drawn);
    showHeads(panel, drawn);
    showPlot(panel);
  }

  function showScale(panel, {top}) {
    const context = panel.bar.getContext('2d');
    const image = context.createImageData(256, 1);
    for (let i = 0; i < 256; i++) {
      const color = 3 * shade(i / 255, 1);
      image.data.set([...COLORS.subarray(color, color + 3), 255], 4 * i);
    }
    context.putImageData(image, 0, 0);
    const even = 1 / panel.view.tokens;
    panel.least.textContent = '0';
    panel.most.textContent = number(top, 3);
    panel.even.hidden = !(even < 0.85 * top && even > 0.12 * top);
    panel.even.style.left = `${100 * even / top}%`;
    panel.even.textContent = 'uniform';
  }

  const KINDS = {mean: 'mean of heads', rollout: 'rollout to here'};
  function titleOf(view) {
    if (state.kind === 'pooling') return 'What is pooled';
    const index = layerIndex(view);
    const kind = state.kind === 'head' && view.heads[0].length ?
      `head ${view.heads[index][mapOf(view)]}` : KINDS[state.kind] || KINDS.mean;
    return `Layer ${view.layers[index]}, ${kind}`;
  }

  function showText(panel, {query, found, top}, cursor) {
    const {view} = panel;
    const name = nameOf(view, query);
    const what = state.kind === 'pooling' ? 'how much of each token' :
      state.from ? `where ${name} looks` : `who looks at ${name}`;
    panel.caption.replaceChildren(el('b', null, titleOf(view)), ` · ${what}`);
    let best = view.first;
    for (let token = view.first; token < view.tokens; token++) {
      if (found[token] > found[best]) best = token;
    }
    const at = cursor === null ? best : cursor;
    panel.mark.hidden = cursor === null || found[at] > top;
    panel.mark.style.left = `${100 * found[at] / top}%`;
    const times = found[at] * view.tokens;
    panel.readout.replaceChildren(
      cursor === null ? 'Most: ' : 'Here: ', nameOf(view, at), ' ',
      el('b', null, number(found[at], 3)),
      el('span', {class: 'soft'},
        ` (${number(times, 2)} × uniform)`,
        isPatch(view, query) && cursor === null ?
          ` · itself ${number(found[query], 3)}` : '',
        state.from ? ` · ${number(bits(found), 3)} of ` +
          `${number(Math.log2(view.tokens), 3)} bits` : ''));
    panel.stage.setAttribute('aria-label', `${panel.caption.textContent}. ` +
      `${panel.readout.textContent}. Arrow keys move the patch.`);
  }
  // Returns the entropy of a row; what was rounded away is made good.
  function bits(found) {
    let [sum, total] = [0, 0];
    for (const value of found) {
      total += value;
      if (value > 0) sum -= value * Math.log2(value);
    }
    return total > 0 ? sum / total + Math.log2(total) : 0;
  }

  function showChips(panel, {query, found, top}) {
    panel.chips.lastChild.setAttribute('aria-pressed', String(state.held));
    for (const chip of [...panel.chips.children].slice(0, -1)) {
      const [swatch, , value] = chip.children;
      const isPooled = chip.token === POOLED;
      chip.disabled = isPooled && (!state.from || state.kind === 'pooling');
      chip.setAttribute('aria-pressed', String(chip.token === query));
      value.textContent = isPooled ? '' : number(found[chip.token], 2);
      swatch.hidden = isPooled;
      if (isPooled) continue;
      const color = 3 * shade(found[chip.token], top);
      swatch.style.background =
        `rgb(${COLORS.subarray(color, color + 3).join(' ')})`;
    }
  }

  function showHeads(panel, {layer, query}) {
    const {view} = panel;
    const index = layerIndex(view);
    panel.headsTitle.textContent = `Heads of layer ${view.layers[index]}`;
    [...panel.heads.children].forEach((button, head) => {
      const found = weights(view, layer, head, query);
      paint(button.firstChild, view, found, largest(view, found));
      const headNumber = view.heads[index][head];
      button.lastChild.textContent = headNumber;
      button.setAttribute('aria-label', `Head ${headNumber}`);
      button.setAttribute('aria-pressed',
        String(state.kind === 'head' && head === mapOf(view)));
    });
  }

  function showPlot(panel) {
    const {view} = panel;
    const index = layerIndex(view);
    const layer = view.layers[index];
    const headNumber = state.kind === 'head' && view.heads[index].length ?
      view.heads[index][mapOf(view)] : null;
    panel.column.setAttribute('x', panel.xOf(layer));
    for (const dot of panel.dots) {
      const isOne = dot.layer === layer && dot.headNumber === headNumber;
      dot.classList.toggle('here', dot.layer === layer);
      dot.classList.toggle('one', isOne);
      dot.setAttribute('r', isOne ? 5 : 3.2);
    }
    const row = view.distance[layer - 1];
    const facts = headNumber === null ?
      `Layer ${layer}: ${number(Math.min(...row), 3)} to ` +
        `${number(Math.max(...row), 3)} pixels` :
      `Layer ${layer}, head ${headNumber}: ` +
        `${number(row[headNumber - 1], 3)} pixels, entropy ` +
        `${number(view.entropy[layer - 1][headNumber - 1], 3)} of ` +
        `${number(Math.log2(view.tokens), 3)} bits`;
    panel.facts.textContent = `${facts}; means over all patches.`;
  }

  // What people do -------------------------------------------------------------------

  function change(changes) {
    const compares = state.compare;
    Object.assign(state, changes);
    if (state.compare !== compares) arrange();
    draw();
  }
  function toggleHold() {
    change({held: !state.held, base: state.query, cursor: null});
  }
  // Makes a token the query, for good.
  function pick(panel, token) {
    const place = token === POOLED ? POOLED : placeOf(panel.view, token);
    change({query: place, base: place, cursor: null});
  }
  function placeUnder(panel, event) {
    const box = panel.stage.getBoundingClientRect();
    const inside = (at) => Math.min(0.999999, Math.max(0, at));
    return {row: inside((event.clientY - box.top) / box.height),
      column: inside((event.clientX - box.left) / box.width)};
  }
  const samePatch = (view, one, other) =>
    one !== null && other !== null && tokenAt(view, one) === tokenAt(view, other);

  function listen(panel) {
    const {stage} = panel;
    let touched = false;
    stage.addEventListener('pointerdown', (event) => {
      touched = event.pointerType !== 'mouse';
      if (touched) pointAt(panel, placeUnder(panel, event), true);
    });
    stage.addEventListener('pointermove', (event) => {
      const isMouse = event.pointerType === 'mouse';
      if (isMouse || event.buttons) {
        pointAt(panel, placeUnder(panel, event), !isMouse);
      }
    });
    stage.addEventListener('pointerleave', (event) => {
      if (event.pointerType === 'mouse') {
        change({query: state.held ? state.query : state.base, cursor: null});
      }
    });
    stage.addEventListener('click', (event) => {
      if (touched) return;
      const place = placeUnder(panel, event);
      const releases = state.held && samePatch(panel.view, place, state.query);
      change({held: !releases, query: place, base: place, cursor: place});
    });
    stage.addEventListener('keydown', (event) => onStageKey(panel, event));
  }
  // Moves what follows the pointer: the query, or a cursor where it is held.
  function pointAt(panel, place, isKept) {
    const name = state.held ? 'cursor' : 'query';
    if (samePatch(panel.view, place, state[name])) return;
    change(isKept && !state.held ? {query: place, base: place} :
      {[name]: place});
  }

  const MOVES = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1],
    ArrowRight: [0, 1]};
  function onStageKey(panel, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const {view} = panel;
    if (event.key in MOVES) {
      move(view, MOVES[event.key]);
    } else if (event.key === 'Home') {
      change({held: false, query: POOLED, base: POOLED, cursor: null});
    } else if (event.key === 'Enter' || event.key === ' ') {
      toggleHold();
    } else if (event.key === 'Escape') {
      change({held: false, cursor: null});
    } else {
      return;
    }
    event.preventDefault();
    announce(panel);
  }
  function move(view, [down, right]) {
    const place = state.held && state.cursor !== null ? state.cursor :
      state.query;
    const token = tokenAt(view, place);
    let moved = centre(view);
    if (isPatch(view, token)) {
      const patch = token - view.first;
      const row = Math.floor(patch / view.columns) + down;
      const column = patch % view.columns + right;
      moved = view.first + view.columns *
        Math.min(view.rows - 1, Math.max(0, row)) +
        Math.min(view.columns - 1, Math.max(0, column));
    }
    const there = placeOf(view, moved);
    change(state.held ? {cursor: there} : {query: there, base: there});
  }
  let announcing = 0;
  function announce(panel) {
    clearTimeout(announcing); // Only of where one stops.
    announcing = setTimeout(() => {
      byId('said').textContent = panel.readout.textContent;
    }, 400);
  }

  const KEYS = {
    '[': () => stepLayer(-1), ']': () => stepLayer(1),
    ',': () => stepHead(-1), '.': () => stepHead(1),
    h: () => mostHeads && change({kind: 'head'}),
    m: () => change({kind: 'mean'}), r: () => change({kind: 'rollout'}),
    p: () => change({kind: 'pooling'}),
    d: () => change({from: !state.from}), s: () => change({root: !state.root}),
    c: () => views.length > 1 && change({compare: !state.compare}),
  };
  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches('select')) return;
    if (event.key === 'p' &&
      data.models.every((model) => model.pooling !== 'attention')) return;
    const act = KEYS[event.key.toLowerCase()];
    if (act) act();
  }

  // The page -------------------------------------------------------------------------

  let panels = [];
  function arrange() {
    const [one] = panels.length ? panels : [makePanel(0, views[0])];
    panels = [one];
    if (state.compare) {
      const other = views.find((view) => view !== one.view &&
        (data.models.length < 2 || view.image === one.view.image)) || one.view;
      panels.push(makePanel(1, other));
    }
    byId('panels').classList.toggle('two', panels.length > 1);
    byId('panels').replaceChildren(...panels.map((panel) => panel.root));
    panels.forEach((panel) => setView(panel, panel.view));
  }

  function buildNotes() {
    const worst = Math.max(...views.map((view) => view.error));
    const keys = [['← ↑ ↓ →', 'move the patch'], ['[ ]', 'layer'],
      [', .', 'head'], ['H M R', 'one head, mean, rollout'], ['D', 'direction'],
      ['S', 'scale'], ['Enter', 'hold the patch and read weights'],
      ['Esc', 'let go'], ['Home', 'what the model pools']];
    if (views.length > 1) keys.push(['C', 'side by side']);
    byId('notes').append(
      el('h2', null, 'How to read this'),
      el('p', null, 'Every token of a Vision Transformer takes from all others; ',
        'attention weights say how much, and sum to one. The map shows those of ',
        'one token over the patches of the picture. Rollout (Abnar & Zuidema, ',
        '2020) follows them from the input through all layers up to this one, ',
        'half of each passing by on the residual connection. Attention says ',
        'what is mixed, not what decides.'),
      el('p', {class: 'soft'}, `Weights are kept with ${data.levels + 1} levels `,
        'on a square-root scale: none is off by more than ',
        `${percent(data.bound)} of the largest of its row, and here by no more `,
        `than ${number(worst, 2)}.`),
      el('dl', {class: 'keys'}, keys.map(([key, what]) =>
        el('div', null, el('dt', null, el('kbd', null, key)),
          el('dd', null, what)))));
  }

  function start() {
    const names = data.models.map((model) => el('bdi', null, model.name));
    byId('title').append('Where ', names[0],
      ...names.slice(1).flatMap((name) => [' and ', name]),
      names.length > 1 ? ' look' : ' looks');
    const isTouch = matchMedia('(hover: none)').matches;
    byId('how').textContent = isTouch ?
      'Tap a patch of the picture to see where it looks.' :
      'Move over the picture to see where each patch looks. Click to hold a ' +
      'patch and read off weights.';
    byId('told').hidden = !data.told.length;
    byId('told').textContent = data.told.join(' ');
    if (typeof DecompressionStream === 'undefined') {
      byId('told').hidden = false;
      byId('told').textContent = 'This browser is too old to unpack the ' +
        'weights; Chrome 80, Firefox 113 and Safari 16.4 are new enough.';
      return;
    }
    state.layer = stored[stored.length - 1];
    state.query = state.base = POOLED;
    state.compare = data.models.length > 1;
    buildControls();
    arrange();
    buildNotes();
    document.addEventListener('keydown', onKey);
    draw();
  }
  start();
})();
