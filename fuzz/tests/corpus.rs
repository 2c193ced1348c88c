//! Every input worth keeping is tried in every run of the tests.

use std::fs;
use std::path::Path;

use starling_fuzz::TARGETS;

#[test]
fn what_holds_for_any_input_holds_for_every_input_of_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folders: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(folders.len(), TARGETS.len(), "a folder for each target: {folders:?}");
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| target(&input));
            assert!(outcome.is_ok(), "{}", path.display());
            inputs += 1;
        }
        assert!(inputs >= 10, "{inputs} inputs for {name}");
    }
}
