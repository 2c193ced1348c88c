//! No file imports, directly or through others, a file that imports it.
//!
//! A file depends on the files that define the items that it names: in a `use`, in a path that begins with `crate` or
//! `super`, or in a path through one of its own modules. A re-export (`pub use`) is not a dependency.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::tidy;

/// The path of a module within its crate, or of an item.
type Names = Vec<String>;

/// The modules of a crate, each with its text.
struct Crate(BTreeMap<Names, String>);

impl Crate {
    fn read(source: &Path) -> Self {
        let files = tidy::files().into_iter().filter_map(|path| {
            let within = path.strip_prefix(source).ok()?.with_extension("");
            let names: Names = within.iter().map(|name| name.to_string_lossy().into_owned()).collect();
            let is_code = path.extension()? == "rs" && names != ["main"] && !names.contains(&"tests".to_owned());
            is_code.then(|| (names, fs::read_to_string(&path).unwrap()))
        });
        Self::of(files)
    }

    fn of(files: impl IntoIterator<Item = (Names, String)>) -> Self {
        let module = |(names, text): (Names, String)| {
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            // A visibility names a module but is not a dependency.
            let lines = lines.map(|line| {
                line.split_once("pub(in ").and_then(|(_, rest)| rest.split_once(')')).map_or(line, |rest| rest.1)
            });
            (if names == ["lib"] { Names::new() } else { names }, lines.collect::<Vec<_>>().join("\n"))
        };
        Self(files.into_iter().map(module).collect())
    }

    /// Every module with its dependencies.
    fn dependencies(&self) -> BTreeMap<&Names, BTreeSet<Names>> {
        let imports = self.0.iter().map(|(module, text)| (module, self.imports(module, text)));
        let imports: BTreeMap<&Names, Vec<Import>> = imports.collect();
        let mut dependencies = BTreeMap::new();
        for (module, text) in &self.0 {
            let used = imports[module].iter().filter(|import| !import.is_passed_on).map(|import| import.path.clone());
            let named = used.chain(self.named(module, text)).filter_map(|path| self.home(&imports, &path, 8));
            dependencies.insert(module, named.filter(|home| home != module).collect());
        }
        dependencies
    }

    /// The paths that a module imports, from the root of the crate.
    fn imports(&self, module: &Names, text: &str) -> Vec<Import> {
        let mut imports = Vec::new();
        for (is_passed_on, tree) in text.split(';').filter_map(|statement| Some(import_in(statement)?.1)) {
            for names in leaves(tree) {
                let name = names.iter().rev().find(|name| *name != "self").cloned().unwrap_or_default();
                let path: Names = names.into_iter().filter(|name| name != "self" && name != "*").collect();
                let path = self.absolute(module, &path);
                imports.extend(path.map(|path| Import { name, path, is_passed_on }));
            }
        }
        imports
    }

    /// The paths that a module names without importing them.
    fn named(&self, module: &Names, text: &str) -> Vec<Names> {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let code = text.split(';').map(|statement| import_in(statement).map_or(statement, |(before, _)| before));
        let paths = code.flat_map(|code| code.split(|c: char| !is_word(c) && c != ':'));
        let names =
            paths.filter(|path| path.contains("::")).map(|path| path.split("::").map(str::to_owned).collect::<Names>());
        names.filter_map(|names| self.absolute(module, &names)).collect()
    }

    /// A path from the root of the crate; `None` for one that leads out of it.
    fn absolute(&self, module: &Names, path: &[String]) -> Option<Names> {
        let ups = path.iter().take_while(|name| *name == "super").count();
        let from = &module[..module.len().checked_sub(ups)?];
        let whole = [from, &path[ups..]].concat();
        match path.get(ups) {
            Some(first) if first == "crate" => Some(path[1..].to_vec()),
            Some(_) if ups == 0 => self.0.contains_key(&whole[..=from.len()]).then_some(whole),
            _ => (ups > 0).then_some(whole),
        }
    }

    /// The module that defines the item of a path, found through re-exports.
    fn home(&self, imports: &BTreeMap<&Names, Vec<Import>>, path: &[String], steps: usize) -> Option<Names> {
        let module = (0..=path.len()).rev().map(|count| &path[..count]).find(|names| self.0.contains_key(*names))?;
        let Some(name) = path.get(module.len()) else { return Some(module.to_vec()) };
        let passed_on = imports[&module.to_vec()].iter().find(|import| import.name == *name);
        match passed_on.filter(|_| steps > 0) {
            Some(import) => self.home(imports, &import.path, steps - 1),
            None => Some(module.to_vec()),
        }
    }

    /// The modules that depend on themselves.
    fn circles(&self) -> BTreeSet<String> {
        let dependencies = self.dependencies();
        let reached = |from: &Names| {
            let mut reached = BTreeSet::new();
            let mut next: Vec<&Names> = dependencies[from].iter().collect();
            while let Some(module) = next.pop() {
                if reached.insert(module) {
                    next.extend(&dependencies[module]);
                }
            }
            reached
        };
        self.0.keys().filter(|module| reached(module).contains(module)).map(|module| module.join("::")).collect()
    }
}

struct Import {
    /// The name by which the module refers to it.
    name: String,
    path: Names,
    is_passed_on: bool,
}

/// The import at the end of a statement, whether it is a re-export, and the code before it.
fn import_in(statement: &str) -> Option<(&str, (bool, &str))> {
    let start = statement[..statement.rfind("use ")?].rfind('\n').map_or(0, |at| at + 1);
    let (visibility, tree) = statement[start..].split_once("use ")?;
    let visibility = visibility.trim();
    let is_import = visibility.is_empty() || visibility.starts_with("pub");
    is_import.then_some((&statement[..start], (!visibility.is_empty(), tree)))
}

/// The paths of a tree of imports, as in `a::{b, c::{self, D}}`.
fn leaves(tree: &str) -> Vec<Names> {
    let Some((stem, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.split("::").map(|name| name.trim().to_owned()).collect()];
    };
    let stem: Names = stem.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    let (mut depth, mut branch, mut found) = (0, String::new(), Vec::new());
    for c in rest.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth < 0 || (depth == 0 && c == ',') {
            if !branch.trim().is_empty() {
                found.extend(leaves(&branch).into_iter().map(|leaf| [&stem[..], &leaf].concat()));
            }
            branch.clear();
        } else {
            branch.push(c);
        }
    }
    found
}

#[test]
fn no_file_depends_on_itself_through_others() {
    for source in ["actors/src", "src", "process/src", "protocol/src", "test-kit/src"] {
        let found = Crate::read(&tidy::root().join(source));
        assert!(found.0.len() > 3, "{source}");
        assert_eq!(found.circles(), BTreeSet::new(), "in {source}");
    }
}

#[test]
fn a_circle_is_found_whichever_way_it_is_closed() {
    let lib = ("lib", "mod a;\nmod b;\n");
    for (files, expected) in [
        (vec![lib, ("a", "use crate::b::B;\n"), ("b", "struct B;\n")], vec![]),
        (vec![lib, ("a", "use crate::b::B;\n"), ("b", "use super::a::{self, A};\n")], vec!["a", "b"]),
        (vec![lib, ("a", "use crate::b::B;\n"), ("b", "fn f() { crate::a::g() }\n")], vec!["a", "b"]),
        // Through a re-export of another file, which is not a part of the circle.
        (
            vec![
                ("lib", "mod a;\nmod b;\npub use self::a::A;\n"),
                ("a", "use crate::b::B;\n"),
                ("b", "use crate::A;\n"),
            ],
            vec!["a", "b"],
        ),
        (vec![lib, ("a", "mod c;\nfn f() { c::g() }\n"), ("a/c", "use super::A;\n"), ("b", "")], vec!["a", "a::c"]),
        (vec![lib, ("a", "mod c;\npub use self::c::C;\n"), ("a/c", "use super::A;\n"), ("b", "")], vec![]),
        (vec![lib, ("a", "use crate::b::B;\n"), ("b", "// use crate::a::A;\n")], vec![]),
    ] {
        let modules =
            files.iter().map(|(path, text)| (path.split('/').map(str::to_owned).collect(), (*text).to_owned()));
        let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(Crate::of(modules).circles(), expected, "{files:?}");
    }
}
