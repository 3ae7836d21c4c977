use std::time::Instant;
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let (how, data, len) = domain_builder::find_payload(&bytes).unwrap();
    let t = Instant::now();
    let elf = domain_builder::unpack(how, data, len).unwrap();
    println!("unpack {how:?} {} -> {} {:?}", data.len(), elf.len(), t.elapsed());
    let t = Instant::now();
    let k = domain_builder::Kernel::from_elf(&elf).unwrap();
    println!("from_elf {:?}", t.elapsed());
    let (h, p) = k.to_stored();
    println!("stored {} {}", h.len(), p.len());
    std::fs::write("/work/scratch/ta/payload.xz", data).unwrap();
}
