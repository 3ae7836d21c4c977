//! Choosing what a configuration leaves open, so that a domain keeps it over restarts.

use anyhow::Result;
use xl_config::{DomainConfig, Uuid, Vif};

use super::random;

/// Gives the domain a UUID and each interface a number and an address.
pub fn settle(config: &mut DomainConfig) -> Result<Uuid> {
    let uuid = match config.uuid {
        Some(uuid) => uuid,
        None => random::uuid()?,
    };
    config.uuid = Some(uuid);
    for at in 0..config.vifs.len() {
        if config.vifs[at].devid.is_none() {
            config.vifs[at].devid = Some(free_number(&config.vifs));
        }
        if config.vifs[at].mac.is_none() {
            config.vifs[at].mac = Some(random::mac()?);
        }
    }
    Ok(uuid)
}

/// The lowest number that no interface has.
pub fn free_number(vifs: &[Vif]) -> u32 {
    let taken = |number: &u32| vifs.iter().any(|vif| vif.devid == Some(*number));
    (0..).find(|number| !taken(number)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_lowest_free_ones_and_nothing_chosen_is_changed() {
        let text = "name='g'\nkernel='/k'\nmemory=64\nvif=['','devid=0','mac=00:16:3e:00:00:07','devid=2']\n";
        let (document, _) = xl_config::parse("t", text);
        let mut config = xl_config::interpret(&document).0.expect("a domain");
        let uuid = settle(&mut config).expect("settled");
        let numbers: Vec<_> = config.vifs.iter().map(|vif| vif.devid).collect();
        assert_eq!(numbers, [Some(1), Some(0), Some(3), Some(2)]);
        let again = config.clone();
        assert_eq!(settle(&mut config).expect("settled"), uuid);
        assert_eq!(config, again);
    }
}
