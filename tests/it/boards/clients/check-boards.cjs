// Holds boards against the types that Grafana publishes as @grafana/schema: the board, each panel's options and field
// settings. usage: check-boards.cjs NODE_MODULES BOARD...
//
// The JSON is put into a TypeScript file as it is, and the compiler says what does not fit, members that are too many
// included. Enums of text are taken as their texts, for JSON has no enums. What data sources ask for (targets), values of
// overrides and transformations are open in the schema, so they are not checked here.
const fs = require('node:fs');
const path = require('node:path');

const [modules, ...boards] = process.argv.slice(2);
const ts = require(path.join(modules, 'typescript'));
// Its type of FieldConfig where a panel has one; panels without one take none.
const PANELS = { table: true, timeseries: true, stat: false, text: false, traces: false };

const composable = path.join(modules, '@grafana/schema/dist/types/raw/composable');
const lines = [
    "import type { Dashboard, Panel } from '@grafana/schema';",
    'type Json<T> = T extends string ? `${T}` : T extends (infer U)[] ? Json<U>[] : T extends object ? { [K in keyof T]: Json<T[K]> } : T;',
    'type WithoutPanels = Omit<Json<Dashboard>, "panels"> & { panels: unknown[] };',
];
for (const kind of Object.keys(PANELS)) {
    const file = path.join(composable, kind, 'panelcfg/x/types.gen');
    if (!fs.existsSync(file + '.d.ts')) continue;
    lines.push(`import type * as ${kind} from ${JSON.stringify(file)};`);
}
let panels = 0;
boards.forEach((file, at) => {
    const board = JSON.parse(fs.readFileSync(file, 'utf8'));
    // A row holds the panels that it folds away; every other panel is typed by its kind.
    const { panels: all, ...rest } = board;
    // What a data source adds to an annotation is as open as its targets.
    rest.annotations.list = rest.annotations.list.map(({ target, customSql, rawQuery, preset, ...bare }) => bare);
    lines.push(`// ${path.basename(file)}`);
    lines.push(`export const board${at}: WithoutPanels = ${JSON.stringify({ ...rest, panels: [] })};`);
    all.forEach((panel) => {
        panels += 1;
        const name = `board${at}panel${panel.id}`;
        if (panel.type === 'row') {
            lines.push(`export const ${name}: Exclude<Json<Dashboard['panels']>, undefined>[number] = ${JSON.stringify(panel)};`);
            return;
        }
        if (!(panel.type in PANELS)) throw new Error(`${file}: a panel of a kind without types: ${panel.type}`);
        const { options, fieldConfig, ...bare } = panel;
        lines.push(`export const ${name}: Omit<Json<Panel>, 'targets'> & { targets?: unknown[] } = ${JSON.stringify(bare)};`);
        if (panel.type !== 'traces') {
            lines.push(`export const ${name}options: Json<${panel.type}.Options> = ${JSON.stringify(options)};`);
        }
        if (fieldConfig) {
            const { custom, ...defaults } = fieldConfig.defaults;
            lines.push(`export const ${name}field: Json<Panel>['fieldConfig'] = ${JSON.stringify({ ...fieldConfig, defaults })};`);
            if (custom && PANELS[panel.type]) {
                lines.push(`export const ${name}custom: Partial<Json<${panel.type}.FieldConfig>> = ${JSON.stringify(custom)};`);
            } else if (custom) {
                throw new Error(`${file}: ${panel.type} has no settings of its own for fields`);
            }
        }
    });
});

// The file exists in memory only, beside the modules so that they are found.
const name = path.join(path.dirname(modules), 'boards.ts');
const text = lines.join('\n');
const options = { strict: true, noEmit: true, skipLibCheck: true, module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, moduleResolution: ts.ModuleResolutionKind.Node10, types: [] };
const host = ts.createCompilerHost(options);
const { readFile, fileExists, getSourceFile } = host;
host.readFile = (file) => (file === name ? text : readFile(file));
host.fileExists = (file) => file === name || fileExists(file);
host.getSourceFile = (file, ...rest) => (file === name ? ts.createSourceFile(file, text, options.target) : getSourceFile(file, ...rest));
const program = ts.createProgram([name], options, host);
const found = ts.getPreEmitDiagnostics(program);
for (const problem of found) {
    const line = problem.file && problem.file.fileName === name ? lines[problem.file.getLineAndCharacterOfPosition(problem.start).line].slice(0, 100) : '';
    console.error(`${line}\n  ${ts.flattenDiagnosticMessageText(problem.messageText, '\n  ')}`);
}
console.log(`${boards.length} boards, ${panels} panels, ${found.length} problems`);
process.exit(found.length === 0 ? 0 : 1);
