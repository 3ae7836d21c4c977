//! Medians and spreads of a few measurements.

/// Median and spread (largest minus smallest) of one load on one system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figure {
    /// The middle one.
    pub median: f64,
    /// Largest minus smallest.
    pub spread: f64,
}

/// Summarises measurements; none give zeros.
pub fn figure(samples: &[f64]) -> Figure {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some((first, last)) = sorted.first().zip(sorted.last()) else {
        return Figure::default();
    };
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    };
    Figure {
        median,
        spread: last - first,
    }
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn the_middle_one_counts() {
        let odd = figure(&[3.0, 1.0, 10.0]);
        assert_eq!((odd.median, odd.spread), (3.0, 9.0));
        assert_eq!(figure(&[1.0, 2.0]).median, 1.5);
        assert_eq!(figure(&[]).median, 0.0);
    }
}
