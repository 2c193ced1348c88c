// Checks the dashboards against Grafana's own types, without a running Grafana: node dashboard-types.mjs FOLDER, in
// which @grafana/schema and typescript are installed. It finds misspelt keys and invalid values in dashboards, panels,
// and their options and fields.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const tools = process.argv[2];
const dashboards = new URL("../../grafana-provisioning/dashboards/", import.meta.url);

const kinds = { timeseries: "TimeSeries", stat: "Stat", heatmap: "Heatmap", table: "Table" };
const lines = [
  `import type { Dashboard, Panel, RowPanel } from "@grafana/schema";`,
  `import type * as common from "@grafana/schema";`,
];
for (const [kind, name] of Object.entries(kinds)) {
  lines.push(`import type * as ${kind} from "@grafana/schema/dist/esm/raw/composable/${kind}/panelcfg/x/${name}PanelCfg_types.gen";`);
}
lines.push(
  // In JSON, the value of an enumeration is its text.
  "type Plain<T> = T extends string ? `${T}` : T extends (infer I)[] ? Plain<I>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;",
  "type Some<T> = Plain<Partial<T>>;",
  "type Fields = { timeseries: timeseries.FieldConfig; stat: {}; heatmap: heatmap.FieldConfig; table: common.TableFieldOptions };",
);

let checked = 0;
for (const file of readdirSync(dashboards).filter((name) => name.endsWith(".json"))) {
  const { panels, ...rest } = JSON.parse(readFileSync(new URL(file, dashboards), "utf8"));
  // Grafana's types leave out what each kind of data source adds to an annotation.
  for (const annotation of rest.annotations.list) {
    for (const field of ["expr", "step", "titleFormat", "textFormat"]) delete annotation[field];
  }
  lines.push(`const d${checked++}: Plain<Omit<Dashboard, "panels">> = ${JSON.stringify(rest)}; // ${file}`);
  for (const panel of panels) {
    const where = `// ${file}: ${panel.title}`;
    if (panel.type === "row") {
      lines.push(`const r${checked++}: Plain<RowPanel> = ${JSON.stringify(panel)}; ${where}`);
      continue;
    }
    if (!(panel.type in kinds)) throw new Error(`${file}: a panel of the kind ${panel.type}`);
    const custom = panel.fieldConfig.defaults.custom ?? {};
    lines.push(
      `const p${checked}: Plain<Panel> = ${JSON.stringify(panel)}; ${where}`,
      `const o${checked}: Some<${panel.type}.Options> = ${JSON.stringify(panel.options)}; ${where}: options`,
      `const f${checked}: Some<Fields["${panel.type}"]> = ${JSON.stringify(custom)}; ${where}: fields`,
    );
    checked++;
  }
}
const program = join(tools, "dashboards.ts");
writeFileSync(program, lines.join("\n") + "\n");
const strictly = ["--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext"];
try {
  execFileSync(join(tools, "node_modules/.bin/tsc"), [...strictly, program], { stdio: "inherit" });
} catch {
  console.error(`dashboards and Grafana's types disagree; each line of ${program} says which panel it is of`);
  process.exit(1);
}
console.log(`${checked} panels and dashboards fit Grafana's types`);
