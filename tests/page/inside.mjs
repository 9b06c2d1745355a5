// What is asked inside the page: each function is sent there whole, and uses nothing from here.

/** Visible texts whose contrast with what is behind them is below `least`, worst first, and the worst contrast of all. */
export function contrasts(least) {
  const parse = color => {
    const found = /^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/.exec(color);
    if (!found) throw new Error(`a colour that this check does not read: ${color}`);
    return { rgb: found.slice(1, 4).map(Number), alpha: found[4] === undefined ? 1 : Number(found[4]) };
  };
  const over = (top, under) => top.rgb.map((one, n) => one * top.alpha + under[n] * (1 - top.alpha));
  const luminance = rgb =>
    rgb
      .map(one => one / 255)
      .map(one => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
      .reduce((sum, one, n) => sum + one * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = at => {
    const layers = [];
    for (; at; at = at.parentElement) {
      if (getComputedStyle(at).opacity !== '1')
        throw new Error(`${at.tagName} is not opaque: this check does not know what is behind it`);
      layers.unshift(parse(getComputedStyle(at).backgroundColor));
    }
    return layers.reduce(
      (under, top) => over(top, under),
      matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255],
    );
  };
  const ratio = (color, at) => {
    const ground = behind(at),
      [low, high] = [luminance(over(parse(color), ground)), luminance(ground)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const at = walk.currentNode.parentElement,
      text = walk.currentNode.textContent.trim();
    if (!text || !at.checkVisibility({ visibilityProperty: true }) || at.closest('script, noscript')) continue;
    found.push({ text: text.slice(0, 40), ratio: ratio(getComputedStyle(at).color, at) });
  }
  for (const cell of document.querySelectorAll('td')) {
    const before = getComputedStyle(cell, '::before');
    if (cell.checkVisibility() && before.content !== 'none')
      found.push({ text: before.content, ratio: ratio(before.color, cell) });
  }
  for (const path of document.querySelectorAll('.curve')) {
    // Three is what WCAG asks of what is drawn.
    found.push({ text: 'a curve', ratio: (ratio(getComputedStyle(path).stroke, path.closest('.plot')) * least) / 3 });
  }
  found.sort((a, b) => a.ratio - b.ratio);
  return { texts: found.length, worst: found[0], low: found.filter(one => one.ratio < least) };
}

/** Elements that reach out of the window sideways, and texts that are cut off. */
export function outside() {
  const found = [];
  for (const at of document.querySelectorAll('body *')) {
    if (!at.checkVisibility() || at.closest('svg, script, thead')) continue;
    const box = at.getBoundingClientRect();
    if (box.width && (box.right > innerWidth + 0.5 || box.left < -0.5))
      found.push(`${at.tagName}.${at.className} ${Math.round(box.left)}..${Math.round(box.right)}`);
    if (
      at.scrollWidth > at.clientWidth + 1 &&
      getComputedStyle(at).display !== 'inline' &&
      getComputedStyle(at).overflowX !== 'visible'
    )
      found.push(`${at.tagName}.${at.className} is cut`);
  }
  return { width: document.scrollingElement.scrollWidth, found };
}

/** Pairs of neighbours whose texts lie on each other. */
export function overlaps() {
  const found = [];
  for (const parent of document.querySelectorAll('tr, .plot, .facts div, .x, .y, #state, #word, header')) {
    const boxes = [...parent.children].filter(at => at.checkVisibility()).map(at => [at, at.getBoundingClientRect()]);
    for (let n = 1; n < boxes.length; n++) {
      const [[a, one], [b, two]] = [boxes[n - 1], boxes[n]];
      const across = Math.min(one.right, two.right) - Math.max(one.left, two.left),
        down = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
      if (across > 1 && down > 1)
        found.push(`${a.tagName} "${a.textContent.slice(0, 30)}" and ${b.tagName} "${b.textContent.slice(0, 30)}"`);
    }
  }
  return found;
}

/** Milliseconds from the end of the first answer until its shards were painted. */
export function firstPaint() {
  return new Promise(done => {
    const look = () => {
      if (!document.querySelector('#shards tbody tr')) return requestAnimationFrame(look);
      requestAnimationFrame(() =>
        setTimeout(() => {
          const [answer] = performance
            .getEntriesByType('resource')
            .filter(entry => entry.name.endsWith('/status.json'));
          done(performance.now() - answer.responseEnd);
        }),
      );
    };
    look();
  });
}

/** Milliseconds that `#more` takes, painting included. */
export function showAll() {
  return new Promise(done => {
    const began = performance.now();
    document.querySelector('#more').click();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
  });
}

/** Milliseconds that the page's thread was blocked in the next `wait` milliseconds, in pieces of 50 and more. */
export function blocked(wait) {
  return new Promise(done => {
    let sum = 0;
    new PerformanceObserver(seen =>
      seen.getEntries().forEach(entry => {
        sum += entry.duration;
      }),
    ).observe({ type: 'longtask' });
    setTimeout(() => done(sum), wait);
  });
}
