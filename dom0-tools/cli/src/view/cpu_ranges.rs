//! Sets of CPUs as a person writes them.

use xenctrl::CpuMap;

/// `all`, `none`, or `0-3,7`; `all` if the set holds every number below `count`.
pub fn cpu_ranges(map: &CpuMap, count: usize) -> String {
    if count > 0 && (0..count).all(|cpu| map.contains(cpu)) {
        return "all".to_owned();
    }
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for cpu in map.iter().filter(|cpu| *cpu < count) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => runs.push((cpu, cpu)),
        }
    }
    let texts = runs.iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    let text = texts.collect::<Vec<_>>().join(",");
    if text.is_empty() { "none".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_as_short_as_can_be() {
        let show = |cpus: &[usize], count| {
            let mut map = CpuMap::empty(count);
            cpus.iter().for_each(|cpu| map.insert(*cpu));
            cpu_ranges(&map, count)
        };
        assert_eq!(show(&[0, 1, 2, 5, 7], 8), "0-2,5,7");
        assert_eq!(show(&[0, 1, 2], 3), "all");
        assert_eq!(show(&[], 3), "none");
        assert_eq!(show(&[2], 3), "2");
    }
}
