// Draws one dashboard with Grafana's own code and tells what is wrong with it.
//
// `draw(wanted)` asks Prometheus, which serves this page, and lays the panels out as Grafana does on a page that is `WIDTH`
// pixels wide. `inspect()` looks at what has been drawn.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';
import {
  applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, EventBusSrv, FieldConfigOptionsRegistry, FieldType,
  getDisplayProcessor, getFieldDisplayValues, identityOverrideProcessor, renderTextPanelMarkdown, standardTransformers,
  standardTransformersRegistry, ThemeContext, toDataFrame, transformDataFrame, VizOrientation,
} from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import {
  BarGauge, BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries, VizRepeater,
} from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

type Json = Record<string, any>;
type Wanted = { dashboard: Json; mode: 'light' | 'dark'; now: number; span: number; step: number };
type Fault = { panel: string; fault: string };

const WIDTH = 1440;
// Of Grafana's own grid.
const COLUMNS = 24, CELL = 30, GAP = 8, EDGE = 16;
// A share beyond this is no share, and an axis that leaves less than this part to its lines shows none of them.
const MOST_PERCENT = 2, MOST_ROOM = 1000;
// Grafana shrinks a number that does not fit; beneath this size nobody reads it on a wall.
const LEAST_FONT = 12;

const faults: Fault[] = [];
const wrong = (panel: Json, fault: string) => faults.push({ panel: panel.title ?? `panel ${panel.id}`, fault });

// The registry wants promises; some transformers are there twice, under an old name.
standardTransformersRegistry.setInit(() =>
  [...new Map(Object.values(standardTransformers).map((one: any) => [one.id, one])).values()].map(
    (one: any) => ({ id: one.id, name: one.name, transformation: () => Promise.resolve(one), editor: null }) as any));

// -- What the panels say ------------------------------------------------------------------------

// What a variable is by default, as a regular expression where it stands for many.
function defaults(dashboard: Json): Record<string, string> {
  const found: Record<string, string> = {};
  for (const one of dashboard.templating?.list ?? []) {
    // Filters by whatever label; without any they change nothing.
    if (one.type === 'adhoc') continue;
    const [value] = [one.current?.value ?? []].flat();
    if (one.type === 'textbox' || one.type === 'constant') found[one.name] = String(one.query ?? '');
    else if (value === '$__all' || (one.includeAll && value === undefined)) found[one.name] = one.allValue || '.*';
    else found[one.name] = String(value ?? String(one.query ?? '').split(',')[0].trim());
  }
  return found;
}

function filler({ dashboard, now, span, step }: Wanted): (text: string) => string {
  const known: Record<string, string> = {
    ...defaults(dashboard), __rate_interval: `${4 * step}s`, __interval: `${step}s`, __interval_ms: `${1000 * step}`,
    __range: `${span}s`, __range_s: `${span}`, __range_ms: `${1000 * span}`, __from: `${1000 * (now - span)}`, __to: `${1000 * now}`,
  };
  return (text) => String(text).replace(/\$\{(\w+)(?::\w+)?\}|\$(\w+)|\[\[(\w+)\]\]/g, (all, ...names) => known[names.find((one) => one)] ?? all);
}

// Rows that are folded hold their panels; here they are all unfolded, and what is beneath moves down.
function unfolded(dashboard: Json): Json[] {
  let down = 0;
  return [...(dashboard.panels ?? [])].sort((one, other) => one.gridPos.y - other.gridPos.y).flatMap((panel: Json) => {
    const moved = [panel, ...(panel.panels ?? [])].map((one: Json) => ({ ...one, gridPos: { ...one.gridPos, y: one.gridPos.y + down } }));
    const inner = (panel.panels ?? []).map((one: Json) => one.gridPos.y + one.gridPos.h);
    if (inner.length) down += Math.max(...inner) - panel.gridPos.y - panel.gridPos.h;
    return moved;
  });
}

// -- What Prometheus answers --------------------------------------------------------------------

async function ask(target: Json, fill: (text: string) => string, { now, span, step }: Wanted): Promise<Json[]> {
  const query = new URLSearchParams({ query: fill(target.expr) });
  const when: Json = target.instant ? { time: now } : { start: now - span, end: now, step };
  for (const key of Object.keys(when)) query.set(key, String(when[key]));
  const reply = await (await fetch(`/api/v1/${target.instant ? 'query' : 'query_range'}?${query}`)).json();
  if (reply.status !== 'success') throw new Error(`query ${target.refId}: ${reply.error}`);
  return reply.data.result;
}

const number = (text: string) => Number(text.replace('Inf', 'Infinity'));

// What Grafana's data source makes of an answer; it is no part of the npm packages' browser code.
function framesOf(target: Json, series: Json[], tables: number) {
  const points = (one: Json) => one.values ?? [one.value];
  if (target.format === 'table') {
    const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
    const rows = series.flatMap((one) => points(one).map((point: any) => ({ metric: one.metric, point })));
    return [toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: rows.map((row) => row.point[0] * 1000) },
        ...labels.map((name) => ({ name, type: FieldType.string, config: { filterable: true }, values: rows.map((row) => row.metric[name]) })),
        { name: tables > 1 ? `Value #${target.refId}` : 'Value', type: FieldType.number, values: rows.map((row) => number(row.point[1])) },
      ],
    })];
  }
  return series.map((one) => {
    const legend = target.legendFormat && target.legendFormat !== '__auto' ? target.legendFormat : '';
    const plain = Object.entries(one.metric).map(([name, value]) => `${name}="${value}"`).join(', ');
    const name = legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_: string, label: string) => one.metric[label] ?? '') || `{${plain}}`;
    return toDataFrame({
      refId: target.refId, name,
      fields: [
        { name: 'Time', type: FieldType.time, values: points(one).map((point: any) => point[0] * 1000) },
        // Grafana's core draws a gap where there is no number.
        { name: 'Value', type: FieldType.number, labels: one.metric, config: { displayNameFromDS: name },
          values: points(one).map((point: any) => Number.isFinite(number(point[1])) ? number(point[1]) : null) },
      ],
    });
  });
}

function optionsOf(panel: Json) {
  const registry = new FieldConfigOptionsRegistry();
  const add = (id: string) => {
    const isCustom = id.startsWith('custom.');
    if (!registry.getIfExists(id)) registry.register({
      id, path: isCustom ? id.slice(7) : id, name: id, isCustom, process: identityOverrideProcessor, shouldApply: () => true,
      override: null, editor: null, getItemsCount: () => 0,
    } as any);
  };
  const { defaults: all = {}, overrides = [] } = panel.fieldConfig ?? {};
  ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'color', 'thresholds', 'mappings', 'links', 'description',
    'fieldMinMax', 'displayNameFromDS', 'filterable', 'actions'].forEach(add);
  Object.keys(all.custom ?? {}).forEach((key) => add(`custom.${key}`));
  overrides.forEach((one: Json) => one.properties.forEach((property: Json) => add(property.id)));
  return registry;
}

// JSON knows no infinity: Grafana's core puts it back into overrides when it loads a dashboard.
function infinite({ defaults = {}, overrides = [] }: Json) {
  const restored = ({ id, value }: Json) => id !== 'thresholds' ? { id, value }
    : { id, value: { ...value, steps: value.steps.map((step: Json) => ({ ...step, value: step.value ?? -Infinity })) } };
  return { defaults, overrides: overrides.map((one: Json) => ({ ...one, properties: one.properties.map(restored) })) };
}

async function dataOf(panel: Json, fill: (text: string) => string, wanted: Wanted, theme: any) {
  const targets = (panel.targets ?? []).filter((one: Json) => !one.hide);
  const tables = targets.filter((one: Json) => one.format === 'table').length;
  const answers = await Promise.all(targets.map((one: Json) => ask(one, fill, wanted)));
  let frames: any[] = targets.flatMap((one: Json, index: number) => framesOf(one, answers[index], tables));
  const steps = (panel.transformations ?? []).filter((one: Json) => !one.disabled);
  for (const { id } of steps) if (!standardTransformersRegistry.getIfExists(id)) throw new Error(`there is no transformation ${id}`);
  if (steps.length) frames = await lastValueFrom(transformDataFrame(steps, frames));
  frames = applyFieldOverrides({
    data: frames, fieldConfig: infinite(panel.fieldConfig ?? {}), fieldConfigRegistry: optionsOf(panel),
    replaceVariables: fill, theme, timeZone: 'utc',
  } as any);
  cacheFieldDisplayNames(frames);
  return frames;
}

// -- Drawing ------------------------------------------------------------------------------------

const charts = new Map<Json, any>();

// Keeps a panel's uPlot, which knows the axes.
function Keep({ panel, builder }: Json) {
  builder.addHook('draw', (chart: any) => charts.set(panel, chart));
  return null;
}

function Series({ panel, frames, width, height, wanted }: Json) {
  const from = dateTime((wanted.now - wanted.span) * 1000), to = dateTime(wanted.now * 1000);
  const legend = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [], ...panel.options?.legend };
  return <TimeSeries frames={frames} timeRange={{ from, to, raw: { from, to } }} timeZone="utc" width={width} height={height}
    legend={legend as any} structureRev={1} options={panel.options} replaceVariables={(text: string) => text}>
    {((builder: any) => <Keep panel={panel} builder={builder} />) as any}
  </TimeSeries>;
}

function Values({ panel, frames, width, height, fill, theme }: Json) {
  const options = panel.options ?? {};
  const values = getFieldDisplayValues({
    fieldConfig: panel.fieldConfig, reduceOptions: options.reduceOptions ?? { calcs: ['lastNotNull'] }, replaceVariables: fill, theme,
    data: frames, sparkline: panel.type === 'stat' && options.graphMode !== 'none', timeZone: 'utc',
  } as any);
  const draw = ({ value, width: wide, height: high, orientation }: any) => {
    const same = { value: value.display, width: wide, height: high, theme };
    if (panel.type === 'stat') return <BigValue {...same} sparkline={value.sparkline} colorMode={options.colorMode}
      graphMode={options.graphMode} justifyMode={options.justifyMode} textMode={options.textMode} text={options.text} />;
    return <BarGauge {...same} field={value.field} display={value.view?.getFieldDisplayProcessor(value.colIndex) ?? getDisplayProcessor({ field: value.field, theme } as any)}
      orientation={orientation} displayMode={options.displayMode} valueDisplayMode={options.valueMode} namePlacement={options.namePlacement}
      showUnfilled={options.showUnfilled} itemSpacing={10} lcdCellWidth={12} text={options.text} />;
  };
  return <VizRepeater getValues={() => values} source={frames} renderValue={draw} renderCounter={0} itemSpacing={panel.type === 'stat' ? 3 : 10}
    orientation={options.orientation && options.orientation !== 'auto' ? options.orientation : VizOrientation.Auto} width={width} height={height} />;
}

const Rows = ({ panel, frames, width, height }: Json) =>
  <TableNG data={frames[0]} width={width} height={height} fieldConfig={panel.fieldConfig} {...{
    structureRev: 1, cellHeight: panel.options?.cellHeight, noHeader: panel.options?.showHeader === false, showTypeIcons: false,
    enableVirtualization: false, // so that every row is there to be looked at
  } as any} />;

const Text = ({ panel, fill }: Json) =>
  <div className="markdown-html" dangerouslySetInnerHTML={{ __html: renderTextPanelMarkdown(fill(panel.options?.content ?? '')) }} />;

const DRAWN: Record<string, any> = { timeseries: Series, stat: Values, bargauge: Values, table: Rows, text: Text };

// Nothing to show: said in Grafana's words, or those of the panel.
function emptiness(panel: Json, frames: any[]): boolean {
  if (panel.type === 'text') return !panel.options?.content?.trim();
  const shown = frames.flatMap((frame) => frame.fields.filter((field: any) => panel.type === 'table' || field.type === FieldType.number));
  return !shown.some((field: any) => field.values.some((value: any) => value !== null && value !== undefined && !Number.isNaN(value)));
}

class Catch extends React.Component<any, any> {
  state: any = {};
  static getDerivedStateFromError(error: any) { return { error: String(error) }; }
  componentDidCatch(error: any) { wrong(this.props.panel, `cannot be drawn: ${error}`); }
  render() { return this.state.error ?? this.props.children; }
}

function Panel({ panel, frames, ...rest }: Json) {
  const { x, y, w, h } = panel.gridPos;
  const column = (WIDTH - 2 * EDGE - GAP * (COLUMNS - 1)) / COLUMNS;
  const width = Math.round(w * column + (w - 1) * GAP), height = h * CELL + (h - 1) * GAP;
  const place: any = { position: 'absolute', left: EDGE + Math.round(x * (column + GAP)), top: EDGE + y * (CELL + GAP), width, height };
  const title = rest.fill(panel.title ?? '');
  if (panel.type === 'row') return <div style={{ ...place, font: '500 14px/30px Inter' }}>{title}</div>;
  const Body = DRAWN[panel.type];
  const said = !Body ? `Grafana's ${panel.type} panel is not on npm.` : frames ? panel.fieldConfig?.defaults?.noValue ?? 'No data' : 'No answer';
  const content = (inner: number, high: number) => Body && frames && !emptiness(panel, frames)
    ? <Catch panel={panel}><Body panel={panel} frames={frames} width={inner} height={high} {...rest} /></Catch>
    : <div style={{ display: 'grid', placeContent: 'center', width: inner, height: high, opacity: 0.65 }}>{said}</div>;
  // The menu shows when the pointer is there but takes its place always.
  return <div style={place} data-panel={panel.id}><Catch panel={panel}>
    <PanelChrome title={title} description={panel.description} width={width} height={height} menu={() => <div />}
      padding={panel.type === 'table' ? 'none' : 'md'}>{content}</PanelChrome>
  </Catch></div>;
}

let panels: Json[] = [];

async function draw(wanted: Wanted): Promise<{ rendered: string[]; missing: string[] }> {
  // Translations of the texts in the components; English is what they hold anyhow.
  await (initPluginTranslations as any)('loadfleet').catch(() => undefined);
  await standardTransformersRegistry.list();
  const theme: any = createTheme({ colors: { mode: wanted.mode } });
  const fill = filler(wanted);
  panels = unfolded(wanted.dashboard);
  const found = await Promise.all(panels.map(async (panel) => {
    if (panel.type === 'row' || !DRAWN[panel.type]) return undefined;
    try {
      const frames = await dataOf(panel, fill, wanted, theme);
      if (emptiness(panel, frames)) wrong(panel, 'it is empty');
      return frames;
    } catch (error) {
      wrong(panel, String(error));
      return undefined;
    }
  }));
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const root = { position: 'relative', width: WIDTH, height: bottom * (CELL + GAP) - GAP + 2 * EDGE, background: theme.colors.background.canvas };
  document.body.replaceChildren(Object.assign(document.createElement('div'), { id: 'root' }));
  createRoot(document.getElementById('root')!).render(<ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <PanelContextProvider value={{ eventsScope: 'global', eventBus: new EventBusSrv() } as any}>
      <div style={root as any}>{panels.map((panel, index) =>
        <Panel key={index} panel={panel} frames={found[index]} fill={fill} theme={theme} wanted={wanted} />)}</div>
    </PanelContextProvider>
  </ThemeContext.Provider>);
  const drawn = (panel: Json, index: number) => found[index] && !emptiness(panel, found[index]!);
  const settled = () => panels.every((panel, index) => !drawn(panel, index) || faults.some((one) => one.panel === panel.title)
    || (panel.type === 'timeseries' ? charts.has(panel) : panel.type !== 'table' || element(panel)?.querySelector('[role=gridcell]')));
  await until(settled);
  await document.fonts.ready;
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  await frame();
  await frame();
  const named = (wantedOnes: Json[]) => wantedOnes.map((panel) => `${panel.title} (${panel.type})`);
  const some = panels.filter((panel) => panel.type !== 'row');
  return { rendered: named(some.filter((panel) => DRAWN[panel.type])), missing: named(some.filter((panel) => !DRAWN[panel.type])) };
}

// What is not drawn after 15 seconds is told by `inspect`; the page's clock stands still.
async function until(holds: () => unknown) {
  for (let turn = 0; turn < 300 && !holds(); turn++) await new Promise((resolve) => setTimeout(resolve, 50));
}

const element = (panel: Json) => document.querySelector<HTMLElement>(`[data-panel="${panel.id}"]`);

// -- Looking ------------------------------------------------------------------------------------

const text = (number: number) => String(Number(number.toPrecision(3)));

function axes(panel: Json) {
  const chart = charts.get(panel);
  if (!chart) return wrong(panel, 'it is not drawn');
  for (const [key, { min, max }] of Object.entries<any>(chart.scales)) {
    if (key === 'x' || min == null || max == null) continue;
    const values = chart.series.flatMap((one: any, index: number) => index && one.scale === key && one.show ? [...chart.data[index]] : [])
      .filter((value: any) => Number.isFinite(value));
    if (!values.length) continue;
    const [least, most] = [Math.min(...values), Math.max(...values)];
    // Grafana names an axis by its unit first.
    const unit = key.split('/')[0];
    if (unit === 'percentunit' && max > MOST_PERCENT) wrong(panel, `its axis goes to ${text(100 * max)} %, its data to ${text(100 * most)} %`);
    // Where all is 0 there is nothing that an axis could fit.
    else if (most > 0 && max - min > MOST_ROOM * Math.max(most - least, most))
      wrong(panel, `its axis spans ${text(max - min)} ${unit}, its data end at ${text(most)}`);
  }
}

const wide = (one: Element | null | undefined) => !!one && one.scrollWidth > one.clientWidth + 1;

function overflow(panel: Json, place: HTMLElement) {
  const content = place.querySelector('[data-testid="data-testid panel content"]') ?? place;
  const edge = content.getBoundingClientRect();
  const walker = document.createTreeWalker(content, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.textContent?.trim()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    const size = parseFloat(getComputedStyle(node.parentElement!).fontSize);
    const out = box.left < edge.left - 1 || box.right > edge.right + 1 || box.top < edge.top - 1 || box.bottom > edge.bottom + 1;
    if (out || wide(node.parentElement)) wrong(panel, `its text does not fit: ${node.textContent}`);
    else if (size < LEAST_FONT) wrong(panel, `its text has only ${text(size)} pixels: ${node.textContent}`);
  }
}

function inspect(): Fault[] {
  for (const panel of panels) {
    const place = element(panel);
    if (panel.type === 'row' || !place) continue;
    const title = place.querySelector('h2');
    if (!title) wrong(panel, 'it has no title');
    else if (title.scrollWidth > title.clientWidth) wrong(panel, `its title is cut: ${title.clientWidth} of ${title.scrollWidth} pixels`);
    if (faults.some((one) => one.panel === panel.title && !one.fault.startsWith('its title'))) continue;
    if (panel.type === 'timeseries') axes(panel);
    if (panel.type === 'stat' || panel.type === 'bargauge') overflow(panel, place);
    if (panel.type === 'table') {
      const grid = place.querySelector('[role=grid]');
      if (!grid) wrong(panel, 'it is not drawn');
      else if (wide(grid)) wrong(panel, `it needs a horizontal scroll bar: ${grid.clientWidth} of ${grid.scrollWidth} pixels`);
    }
  }
  return faults;
}

Object.assign(window, { draw, inspect });
