"use strict";
// The interactive charts of a report. Names and values reach the page as text only: tooltips are
// built from text nodes, and everything else is drawn on a canvas.
(function () {
  const section = document.querySelector("[data-study]");
  if (!section || typeof echarts === "undefined") return;
  const data = JSON.parse(section.dataset.study);
  section.querySelector("[data-interactive]").hidden = false;
  const goal = data.goals[0];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const OF_A_GOAL = ["history", "slice", "parallel_coordinates"];
  const KINDS = ["completed", "infeasible", "stopped", "best"];
  const SYMBOLS = { completed: "circle", infeasible: "emptyRect", stopped: "emptyCircle", best: "diamond" };

  function color(name) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  }

  function numberText(value) {
    if (value === null || value === undefined) return "";
    if (value === 0) return "0";
    const text = String(Number(value.toPrecision(6)));
    return text.replace("e+", "e");
  }

  function label(column, place) {
    if (place === null) return "";
    return column.options ? column.options[place] : numberText(place);
  }

  // Values far on the worse side lie on the edge of an axis; the tooltip shows them as they are.
  function clipped(value, k) {
    const axis = data.goals[k];
    if (value === null || value === undefined || axis.low === undefined) return null;
    return Math.min(axis.high, Math.max(axis.low, value));
  }

  function kind(trial) {
    return trial.best ? "best" : trial.state;
  }

  function tip(trial, lines, most) {
    const box = document.createElement("div");
    box.className = "chart-tip";
    const head = document.createElement("strong");
    head.textContent = "trial " + trial.n + ", " + trial.state;
    const table = document.createElement("table");
    const facts = lines || data.goals.map(function (g, k) {
      return [g.metric, numberText(trial.values[k])];
    });
    const repeated = data.repeated[trial.n];
    if (repeated && !lines) {
      facts.push(["mean of several runs", numberText(repeated[0])], ["95 % interval", numberText(repeated[1]) + " to " + numberText(repeated[2])]);
    }
    if (trial.n === data.winner && !lines) facts.push(["winner", "yes"]);
    data.columns.forEach(function (column, j) {
      if (trial.params[j] !== null) facts.push([column.path, label(column, trial.params[j])]);
    });
    facts.slice(0, most || 16).forEach(function (fact) {
      const row = table.insertRow();
      const name = document.createElement("th");
      name.textContent = fact[0];
      row.append(name);
      row.insertCell().textContent = fact[1];
    });
    box.append(head, table);
    return box;
  }

  function narrow() {
    return section.clientWidth < 560;  // the legend does not fit beside the tools
  }

  function base() {
    return {
      animation: false,
      textStyle: { fontFamily: "system-ui, sans-serif", color: color("ink") },
      grid: { left: 12, right: 24, top: narrow() ? 84 : 50, bottom: 26, containLabel: true },
      legend: { top: narrow() ? 36 : 0, left: 0, type: "scroll", textStyle: { color: color("ink") } },
      tooltip: {
        confine: true, backgroundColor: color("paper"), borderColor: color("line"),
        formatter: function (event) {
          const trial = event.data && event.data.trial;
          return trial ? tip(trial) : "";
        },
      },
      toolbox: {
        right: 0, top: -2, itemSize: 14, iconStyle: { borderColor: color("soft") },
        feature: { dataZoom: { filterMode: "none", title: { zoom: "zoom", back: "undo zoom" } }, restore: { title: "restore" } },
      },
      dataZoom: [0, 1].map(function (axis) {
        const zoom = { type: "inside", filterMode: "none", zoomOnMouseWheel: "ctrl" };
        zoom[axis ? "yAxisIndex" : "xAxisIndex"] = 0;
        return zoom;
      }),
    };
  }

  function look(axis) {
    return Object.assign({
      nameLocation: "middle", nameTextStyle: { color: color("ink") },
      axisLine: { onZero: false, lineStyle: { color: color("gray") } },
      axisLabel: { color: color("soft"), formatter: numberText, hideOverlap: true },
      splitLine: { lineStyle: { color: color("line") } },
    }, axis);
  }

  function shortened(text) {
    return text.length > 40 ? text.slice(0, 13) + "…" + text.slice(-26) : text;
  }

  // The margin of an axis does not lead below zero if no value is there.
  function atZero(span) {
    return span.min >= 0 && span.min < 0.25 * (span.max - span.min) ? 0 : null;
  }

  function goalAxis(k) {
    const g = data.goals[k];
    return look({
      type: g.log ? "log" : "value", scale: true, boundaryGap: ["4%", "4%"], min: atZero, nameGap: 8, nameLocation: "end",
      name: shortened(g.metric) + " (" + g.direction + ")",
      nameTextStyle: { color: color("ink"), align: "left" },
    });
  }

  function parameterAxis(column) {
    const name = shortened(column.path);
    if (column.options) {
      return look({
        type: "category", data: column.options.map(function (_, place) { return String(place); }),
        name: name, nameGap: 28,
        axisLabel: {
          color: color("soft"), width: 90, overflow: "truncate", hideOverlap: true,
          formatter: function (place) { return column.options[Number(place)]; },
        },
      });
    }
    return look({ type: column.log ? "log" : "value", scale: true, name: name, nameGap: 28 });
  }

  // One series for each kind of trial; `place` returns the point of a trial, or null.
  function scatter(place) {
    return KINDS.map(function (name) {
      const points = data.trials.filter(function (t) { return kind(t) === name; })
        .map(function (t) { return { value: place(t), trial: t }; })
        .filter(function (point) { return point.value.every(function (x) { return x !== null && x !== undefined; }); });
      return {
        name: name, type: "scatter", data: points, symbol: SYMBOLS[name],
        symbolSize: name === "best" ? 13 : data.trials.length > 500 ? 5 : 8, z: name === "best" ? 5 : 3,
        itemStyle: { color: color(name === "best" ? "mark" : name === "completed" ? "light" : "gray"), opacity: name === "best" ? 1 : 0.85 },
      };
    }).filter(function (series) { return series.data.length; });
  }

  // The means of the trials that ran several times, with their intervals; the winner has a ring.
  function means(place) {
    const points = data.trials.filter(function (t) { return data.repeated[t.n]; })
      .map(function (t) {
        const ends = data.repeated[t.n].map(function (value) { return clipped(value, 0); });
        return { value: [place(t)[0]].concat(ends), trial: t };
      })
      .filter(function (point) { return point.value.every(function (x) { return x !== null && x !== undefined; }); });
    if (!points.length) return [];
    return [{
      name: "mean of several runs, 95 % interval", type: "custom", z: 4, data: points, encode: { x: 0, y: [1, 2, 3] }, itemStyle: { color: color("main") },
      renderItem: function (params, api) {
        const at = [1, 2, 3].map(function (k) { return api.coord([api.value(0), api.value(k)]); });
        const parts = [
          { type: "line", shape: { x1: at[1][0], y1: at[1][1], x2: at[2][0], y2: at[2][1] }, style: { stroke: color("main"), lineWidth: 1.5 } },
          { type: "circle", shape: { cx: at[0][0], cy: at[0][1], r: 3.5 }, style: { fill: color("main"), stroke: color("paper"), lineWidth: 1 } },
        ];
        if (points[params.dataIndex].trial.n === data.winner) {
          parts.push({ type: "circle", shape: { cx: at[0][0], cy: at[0][1], r: 8 }, style: { fill: "none", stroke: color("mark"), lineWidth: 2 } });
        }
        return { type: "group", children: parts };
      },
    }];
  }

  const builders = {
    history: function (chosen) {
      const option = base();
      const steps = [], minimize = data.goals[chosen.y].direction === "minimize";
      let best = null;
      data.trials.forEach(function (t) {
        const value = t.values[chosen.y];
        if (t.state !== "completed" || value === null || value === undefined) return;
        if (best === null || (minimize ? value < best : value > best)) best = value;
        steps.push([t.n, clipped(best, chosen.y)]);
      });
      const failed = data.trials.filter(function (t) { return t.state === "failed"; });
      option.xAxis = look({ type: "value", name: "trial", nameGap: 24, min: 0, minInterval: 1, splitLine: { show: false } });
      option.yAxis = [goalAxis(chosen.y), { type: "value", min: 0, max: 1, show: false }];
      const place = function (t) { return [t.n, clipped(t.values[chosen.y], chosen.y)]; };
      option.series = scatter(place).concat(means(place));
      if (steps.length) {
        option.series.push({ name: "best so far", type: "line", step: "end", symbol: "none", silent: true, data: steps, z: 2, lineStyle: { color: color("main"), width: 2 }, itemStyle: { color: color("main") } });
      }
      if (failed.length) {
        option.series.push({ name: "failed", type: "scatter", yAxisIndex: 1, symbol: "path://M0,0L10,10M10,0L0,10", symbolSize: 7, itemStyle: { color: "transparent", borderColor: color("gray"), borderWidth: 1.2 }, data: failed.map(function (t) { return { value: [t.n, 0.02], trial: t }; }) });
      }
      return option;
    },

    pareto_front: function (chosen) {
      const option = base();
      option.xAxis = Object.assign(goalAxis(chosen.x), { nameLocation: "middle", nameGap: 28, nameTextStyle: { color: color("ink") } });
      option.yAxis = goalAxis(chosen.y);
      option.series = scatter(function (t) { return [clipped(t.values[chosen.x], chosen.x), clipped(t.values[chosen.y], chosen.y)]; });
      return option;
    },

    slice: function (chosen) {
      const option = base();
      option.xAxis = parameterAxis(data.columns[chosen.x]);
      option.yAxis = goalAxis(chosen.y);
      const place = function (t) { return [t.params[chosen.x], clipped(t.values[chosen.y], chosen.y)]; };
      option.series = scatter(place).concat(means(place));
      return option;
    },

    parallel_coordinates: function (chosen, place) {
      const option = base();
      delete option.grid;
      delete option.dataZoom;
      delete option.legend;
      option.toolbox.feature = { restore: option.toolbox.feature.restore };
      const g = data.goals[chosen.y];
      const last = data.columns.length;
      place.style.minWidth = 92 * (last + 1) + "px";
      option.parallel = { left: 50, right: 60, top: 48, bottom: 24, parallelAxisDefault: { areaSelectStyle: { color: color("mark"), borderColor: color("mark") } } };
      option.parallelAxis = data.columns.map(function (column, j) {
        const axis = parameterAxis(column);
        return Object.assign(axis, { dim: j, nameLocation: "start", nameGap: 14, nameTruncate: { maxWidth: 96 }, nameTextStyle: { color: color("ink"), width: 96, overflow: "truncate" }, axisLabel: Object.assign(axis.axisLabel, { width: 60 }) });
      }).concat([Object.assign(look({ type: g.log ? "log" : "value", scale: true }), { dim: last, name: shortened(g.metric), nameLocation: "start", nameGap: 14, nameTextStyle: { color: color("ink"), width: 96, overflow: "truncate" } })]);
      const done = data.trials.filter(function (t) { return t.state === "completed" && t.values[chosen.y] !== null; });
      const every = Math.ceil(done.length / 1000);
      const lines = done.filter(function (t, i) { return t.best || i % every === 0; }).map(function (t) {
        const value = t.params.map(function (x) { return x === null ? "-" : x; });
        value.push(clipped(t.values[chosen.y], chosen.y));
        return { value: value, trial: t, lineStyle: t.best ? { color: color("mark"), width: 2.5, opacity: 1 } : undefined };
      });
      const ramp = [color("main"), color("line")];
      option.visualMap = { show: false, dimension: last, min: g.low, max: g.high, inRange: { color: g.direction === "minimize" ? ramp : ramp.slice().reverse() } };
      option.series = [{ type: "parallel", data: lines, smooth: false, lineStyle: { width: 1.2, opacity: 0.55 }, inactiveOpacity: 0.04, activeOpacity: 0.9, emphasis: { lineStyle: { width: 3, opacity: 1 } } }];
      return option;
    },

    learning_curves: function () {
      const option = base();
      const byNumber = new Map(data.trials.map(function (t) { return [String(t.n), t]; }));
      option.legend.show = false;
      option.xAxis = look({ type: "value", name: "step", nameGap: 24, minInterval: 1, splitLine: { show: false } });
      option.yAxis = goalAxis(0);
      option.series = Object.keys(data.curves).map(function (number) {
        const trial = byNumber.get(number) || { n: number, state: "", values: [], params: [] };
        const points = data.curves[number];
        const tone = trial.best ? "mark" : trial.state === "completed" ? "light" : "gray";
        return {
          type: "line", symbol: "circle", symbolSize: points.length > 1 ? 4 : 7, showSymbol: points.length < 30,
          z: trial.best ? 5 : 2, itemStyle: { color: color(tone) },
          lineStyle: { color: color(tone), width: trial.best ? 2.5 : 1, opacity: trial.best ? 1 : 0.7, type: trial.state === "stopped" ? "dashed" : "solid" },
          emphasis: { lineStyle: { width: 3 } }, triggerLineEvent: true,
          data: points.map(function (point) { return { value: [point[0], clipped(point[1], 0)], shown: point, trial: trial }; }),
        };
      });
      option.tooltip.formatter = function (event) {
        const point = event.data;
        return point && point.trial ? tip(point.trial, [["step", String(point.shown[0])], [goal.metric, numberText(point.shown[1])]]) : "";
      };
      return option;
    },
  };

  builders.timeline = function (chosen, place) {
    const option = base();
    const byNumber = new Map(data.trials.map(function (t) { return [t.n, t]; }));
    place.style.height = Math.min(600, 130 + 26 * data.lanes.length) + "px";
    delete option.legend;
    option.grid.top = 40;
    option.dataZoom = [{ type: "inside", filterMode: "none", zoomOnMouseWheel: "ctrl" }];
    option.xAxis = look({ type: "value", name: "seconds since the first start", nameGap: 24, min: 0 });
    option.yAxis = look({
      type: "category", inverse: true, data: data.lanes.map(function (_, lane) { return String(lane); }),
      axisLabel: { color: color("soft"), width: 110, overflow: "truncate", formatter: function (lane) { return data.lanes[Number(lane)]; } },
      splitLine: { show: false },
    });
    const tones = { best: "mark", completed: "light", failed: "paper", stopped: "tint", repeat: "gray" };
    option.series = [{
      type: "custom", encode: { x: [1, 2], y: 0 },
      data: data.runs.map(function (run) {
        const trial = byNumber.get(run.n) || { n: run.n, state: run.state, values: [], params: [] };
        return { value: [run.lane, run.start, run.end], run: run, trial: trial };
      }),
      renderItem: function (params, api) {
        const from = api.coord([api.value(1), api.value(0)]), to = api.coord([api.value(2), api.value(0)]);
        const run = data.runs[params.dataIndex], trial = byNumber.get(run.n);
        const best = trial && trial.best && run.state === "completed" && !run.repeats;
        const height = Math.min(18, 0.7 * api.size([0, 1])[1]);
        return {
          type: "rect", shape: { x: from[0], y: from[1] - height / 2, width: Math.max(2, to[0] - from[0]), height: height },
          style: { fill: color(tones[best ? "best" : run.repeats && run.state === "completed" ? "repeat" : run.state] || "line"), stroke: color(run.state === "completed" ? "paper" : "gray"), lineWidth: 0.5 },
        };
      },
    }];
    option.tooltip.formatter = function (event) {
      const run = event.data.run;
      const lines = [["run " + run.run, run.state], ["took", numberText(run.end - run.start) + " s"]];
      return tip(event.data.trial, lines, 4);  // the chart is low
    };
    return option;
  };

  function find(trial) {
    document.querySelectorAll("table.sortable tbody tr").forEach(function (row) {
      const same = Number(row.cells[0].dataset.n) === trial.n;
      row.classList.toggle("picked", same);
      if (same) row.scrollIntoView({ block: "center", behavior: "smooth" });
    });
  }

  function select(figure, name, names, start, change) {
    const box = document.createElement("label");
    const list = document.createElement("select");
    box.append(name + " ", list);
    names.forEach(function (text, place) { list.add(new Option(shortened(text), String(place))); });
    list.value = String(start);
    list.addEventListener("change", function () { change(Number(list.value)); });
    figure.querySelector(".tools").append(box);
  }

  const charts = [];
  section.querySelectorAll("figure[data-chart]").forEach(function (figure) {
    const build = builders[figure.dataset.chart];
    if (!build) return;
    const metrics = data.goals.map(function (g) { return g.metric; });
    const front = figure.dataset.chart === "pareto_front";
    const chosen = { x: 0, y: front ? 1 : 0 };
    const tools = document.createElement("div");
    tools.className = "tools";
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    const place = document.createElement("div");
    place.className = "chart";
    scroll.append(place);
    figure.append(tools, scroll);
    if (figure.dataset.chart === "parallel_coordinates") place.style.minWidth = 92 * (data.columns.length + 1) + "px";
    const chart = echarts.init(place, null, { renderer: "canvas" });
    function draw() { chart.setOption(build(chosen, place), true); }
    function choose(axis) { return function (k) { chosen[axis] = k; draw(); }; }
    if (figure.dataset.chart === "slice") {
      const paths = data.columns.map(function (c) { return c.path; });
      chosen.x = Math.max(0, paths.indexOf(data.first));
      if (paths.length > 1) select(figure, "Parameter", paths, chosen.x, choose("x"));
    }
    if (front && metrics.length > 2) select(figure, "x", metrics, 0, choose("x"));
    if (front && metrics.length > 2) select(figure, "y", metrics, 1, choose("y"));
    if (metrics.length > 1 && OF_A_GOAL.includes(figure.dataset.chart)) select(figure, "Goal", metrics, 0, choose("y"));
    chart.on("click", function (event) { if (event.data && event.data.trial) find(event.data.trial); });
    draw();
    chart.resize();
    charts.push({ chart: chart, draw: draw });
  });
  addEventListener("resize", function () { charts.forEach(function (c) { c.draw(); c.chart.resize(); }); });
  dark.addEventListener("change", function () { charts.forEach(function (c) { c.draw(); }); });
})();
