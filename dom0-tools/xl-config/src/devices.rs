//! The lists of disks and network interfaces, and what may not occur in them twice.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use crate::disk::Disk;
use crate::document::{Kind, Setting, Value};
use crate::interpret::Reader;
use crate::problem::Place;
use crate::vif::Vif;

pub(crate) fn read_disks(reader: &mut Reader<'_>) -> Vec<Disk> {
    let mut disks = Vec::new();
    let mut seen: HashMap<u32, u32> = HashMap::new();
    let source = source_of(reader, "disk");
    for (at, line, disk) in read_list::<Disk>(reader, "disk") {
        let place = Place::new(&source, line);
        if let Some(before) = seen.insert(disk.vdev.number, line) {
            let message = format!("{} is also the disk of line {before}; choose another name", disk.vdev);
            reader.refuse(place, format!("disk[{at}]"), message);
            continue;
        }
        disks.push(disk);
    }
    disks
}

pub(crate) fn read_vifs(reader: &mut Reader<'_>) -> Vec<Vif> {
    let mut vifs: Vec<Vif> = Vec::new();
    let source = source_of(reader, "vif");
    for (at, line, vif) in read_list::<Vif>(reader, "vif") {
        let place = Place::new(&source, line);
        let same_mac = vif.mac.filter(|mac| vifs.iter().any(|other| other.mac == Some(*mac)));
        let same_number = vif
            .devid
            .filter(|devid| vifs.iter().any(|other| other.devid == Some(*devid)));
        if let Some(mac) = same_mac {
            reader.refuse(
                place,
                format!("vif[{at}]"),
                format!("{mac} is given to another interface, too"),
            );
        } else if let Some(devid) = same_number {
            reader.refuse(
                place,
                format!("vif[{at}]"),
                format!("devid={devid} is given to another interface, too"),
            );
        } else {
            vifs.push(vif);
        }
    }
    vifs
}

/// The file that a key stands in. Asked for once a list: the answer comes with a copy of the whole list.
fn source_of(reader: &Reader<'_>, key: &str) -> Arc<str> {
    reader
        .get(key)
        .map_or_else(|| "".into(), |setting| setting.place.source)
}

/// Index, line and meaning of each element; what cannot be read is refused. One string stands for a list of one.
fn read_list<T: FromStr>(reader: &mut Reader<'_>, key: &str) -> Vec<(usize, u32, T)>
where
    T::Err: Display,
{
    let Some(setting) = reader.get(key) else {
        return Vec::new();
    };
    let values: &[Value] = match &setting.value.kind {
        Kind::List(values) => values,
        _ => std::slice::from_ref(&setting.value),
    };
    let mut elements = Vec::new();
    for (at, value) in values.iter().enumerate() {
        match parse_element(value) {
            Ok(element) => elements.push((at, value.line, element)),
            Err(message) => refuse_element(reader, &setting, at, value.line, message),
        }
    }
    elements
}

fn parse_element<T: FromStr>(value: &Value) -> Result<T, String>
where
    T::Err: Display,
{
    let text = value.as_text().ok_or("must be a string, not a list")?;
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn refuse_element(reader: &mut Reader<'_>, setting: &Setting, at: usize, line: u32, message: String) {
    let place = Place::new(&setting.place.source, line);
    reader.refuse(place, format!("{}[{at}]", setting.key), message);
}
