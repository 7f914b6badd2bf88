'use strict';
// What the scripts of all pages share: `page`.
const page = (() => {
  const SVG = 'http://www.w3.org/2000/svg';
  const ARRAYS = {
    float32: Float32Array, int32: Int32Array, uint32: Uint32Array,
    int16: Int16Array, uint16: Uint16Array, int8: Int8Array, uint8: Uint8Array,
  };

  // Returns an element: el('td', {class: 'number'}, 'text', another). Texts are
  // never markup. A child or an attribute that is null or false is left out; an
  // attribute whose name begins with "on" is a listener.
  function made(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? '' : value);
    }
    for (const child of children.flat(Infinity)) {
      if (![null, undefined, false].includes(child)) element.append(child);
    }
    return element;
  }
  const el = (name, attributes, ...children) =>
    made(document.createElement(name), attributes, children);
  const svg = (name, attributes, ...children) =>
    made(document.createElementNS(SVG, name), attributes, children);

  // Returns the typed array of a `pages.Blob`.
  function array(blob) {
    const bytes = Uint8Array.from(atob(blob.base64), (c) => c.charCodeAt(0));
    return new ARRAYS[blob.dtype](bytes.buffer);
  }

  // Returns a number as people read it: 4 digits, thousands with commas.
  function number(value, digits = 4) {
    if (value === null || value === undefined) return '–';
    if (Number.isInteger(value)) return value.toLocaleString('en-US');
    const size = Math.abs(value);
    if (size >= 1e7 || size < 1e-4) return value.toExponential(digits - 2);
    return value.toLocaleString('en-US', {maximumSignificantDigits: digits});
  }
  const percent = (value, digits = 1) =>
    value === null || value === undefined ? '–' :
      `${(100 * value).toFixed(digits)} %`;

  // Makes a table sortable by the buttons of its head. `rows` are arrays of
  // {value, cell}: what to compare by, null last, and the <td>.
  function sortable(table, columns, rows, shown = Infinity) {
    const heads = columns.map((column, index) => el('th', {
      scope: 'col', class: column.number ? 'number' : null,
    }, el('button', {type: 'button', onclick: () => sort(index)}, column.name)));
    const body = el('tbody');
    table.append(el('thead', null, el('tr', null, heads)), body);
    let order = null;
    function sort(index, direction) {
      const before = heads[index].getAttribute('aria-sort');
      const first = columns[index].number ? 'descending' : 'ascending';
      const other = first === 'ascending' ? 'descending' : 'ascending';
      const chosen = direction || (before === first ? other : first);
      const sign = chosen === 'ascending' ? 1 : -1;
      heads.forEach((head) => head.removeAttribute('aria-sort'));
      heads[index].setAttribute('aria-sort', chosen);
      rows.sort((one, two) => {
        const [a, b] = [one[index].value, two[index].value];
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (typeof a === 'string' ? a.localeCompare(b) : a - b);
      });
      order = rows;
      show(shown);
    }
    function show(count) {
      body.replaceChildren(...(order || rows).slice(0, count)
        .map((row) => el('tr', null, row.map((each) => each.cell))));
    }
    show(shown);
    return {sort, showAll: () => { shown = Infinity; show(shown); }};
  }

  const data = JSON.parse(document.getElementById('page-data').textContent);
  return {data, el, svg, array, number, percent, sortable};
})();
