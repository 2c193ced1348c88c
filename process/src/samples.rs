//! Parses Prometheus' text format as far as the stages need it: names, labels and values.

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name, with `_bucket`, `_sum` or `_count` if it is part of a histogram.
    pub name: String,
    /// Labels and their values.
    pub labels: Vec<(String, String)>,
    /// The value at the scrape.
    pub value: f64,
}

impl Sample {
    /// The value of a label; empty if the sample has no such label, as in Prometheus.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// Parses every sample of a page. Comments and invalid lines are skipped.
pub fn samples(page: &str) -> impl Iterator<Item = Sample> {
    page.lines().filter_map(sample)
}

fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // A timestamp may follow the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then(|| Sample { name: name.to_owned(), labels, value })
}

/// Parses labels up to the closing brace, and returns the rest.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (name, behind) = rest.split_once("=\"")?;
        let (value, behind) = quoted(behind)?;
        labels.push((name.trim().to_owned(), value));
        rest = behind;
    }
}

/// Parses up to the closing quote, and returns the rest.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_values_are_read() {
        let page = "# HELP a Something.\n# TYPE a counter\na 1\nb{x=\"1\",y=\"two \\\"}\\\" \\\\\"} 2.5e3 1700000000\nc{} +Inf\n";
        let read: Vec<Sample> = samples(page).collect();
        let labels = vec![("x".to_owned(), "1".to_owned()), ("y".to_owned(), "two \"}\" \\".to_owned())];
        assert_eq!(
            read,
            [
                Sample { name: "a".into(), labels: vec![], value: 1.0 },
                Sample { name: "b".into(), labels, value: 2500.0 },
                Sample { name: "c".into(), labels: vec![], value: f64::INFINITY },
            ]
        );
        assert_eq!((read[1].label("x"), read[1].label("z")), ("1", ""));
    }

    #[test]
    fn what_is_no_sample_is_passed_over() {
        for line in ["", "   ", "<html>", "a", "a{", "a{x=\"1} 2", "a{x} 1", "a one", "{} 1", "404 not found"] {
            assert_eq!(samples(line).count(), 0, "{line}");
        }
    }
}
