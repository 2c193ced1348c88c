//! Metric families for the exposition to Prometheus, from figures that were counted elsewhere.
//!
//! The metrics of the `prometheus` crate count by themselves, one observation a call. The programs count in their own
//! ways, because one of their events may be a thousand observations; they fill these families at a scrape.

use prometheus::proto::{self, MetricFamily, MetricType};

/// A metric under construction, with its series.
#[derive(Debug)]
pub struct Family(MetricFamily);

impl Family {
    fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.into());
        family.set_help(help.into());
        family.set_field_type(kind);
        Self(family)
    }

    /// A counter without series.
    pub fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    /// A gauge without series.
    pub fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    /// A histogram without series.
    pub fn histogram(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::HISTOGRAM)
    }

    /// A counter whose one series has no label.
    pub fn single_counter(name: &str, help: &str, value: f64) -> MetricFamily {
        let mut family = Self::counter(name, help);
        family.add(&[], value);
        family.finish()
    }

    /// A gauge whose one series has no label.
    pub fn single_gauge(name: &str, help: &str, value: f64) -> MetricFamily {
        let mut family = Self::gauge(name, help);
        family.add(&[], value);
        family.finish()
    }

    /// A histogram whose one series has no label.
    pub fn single_histogram(name: &str, help: &str, histogram: proto::Histogram) -> MetricFamily {
        let mut family = Self::histogram(name, help);
        family.add_histogram(&[], histogram);
        family.finish()
    }

    /// Adds a series with these labels to a counter or a gauge.
    pub fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut metric = labelled(labels);
        if self.0.get_field_type() == MetricType::COUNTER {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.0.mut_metric().push(metric);
    }

    /// Adds a series with these labels to a histogram.
    pub fn add_histogram(&mut self, labels: &[(&str, &str)], histogram: proto::Histogram) {
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        self.0.mut_metric().push(metric);
    }

    /// The family with the series that were added.
    pub fn finish(self) -> MetricFamily {
        self.0
    }
}

fn labelled(labels: &[(&str, &str)]) -> proto::Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    });
    let mut metric = proto::Metric::default();
    metric.set_label(pairs.collect());
    metric
}

/// A histogram of its buckets, its observations and their sum.
///
/// A bucket is its upper bound and the observations that are in it and in no lower one. `count` includes the
/// observations above the last bound.
pub fn histogram(buckets: impl IntoIterator<Item = (f64, u64)>, count: u64, sum: f64) -> proto::Histogram {
    let mut cumulative = 0;
    let buckets = buckets.into_iter().map(|(bound, count)| {
        cumulative += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(count);
    histogram.set_sample_sum(sum);
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_each_kind_are_exposed_with_their_labels() {
        let mut counter = Family::counter("sent_total", "Sent.");
        counter.add(&[("kind", "room")], 3.0);
        let gauge = Family::single_gauge("open", "Open.", 2.5);
        let sizes = Family::single_histogram("bytes", "Sizes.", histogram([(1.0, 2), (4.0, 1)], 5, 40.0));
        let text = prometheus::TextEncoder::new().encode_to_string(&[counter.finish(), gauge, sizes]).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        assert_eq!(
            lines,
            [
                "# TYPE sent_total counter",
                "sent_total{kind=\"room\"} 3",
                "# TYPE open gauge",
                "open 2.5",
                "# TYPE bytes histogram",
                "bytes_bucket{le=\"1\"} 2",
                "bytes_bucket{le=\"4\"} 3",
                "bytes_bucket{le=\"+Inf\"} 5",
                "bytes_sum 40",
                "bytes_count 5",
            ]
        );
    }
}
