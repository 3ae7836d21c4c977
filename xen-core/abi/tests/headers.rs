//! Compiles a C program against Xen's own headers and compares each structure's size and offsets with `layout.rs`.
//! The headers are Debian's `libxen-dev`, or `$XEN_HEADERS` names the directory that holds `xen/`. Without headers or
//! a C compiler the test says so and passes: `lib.rs` checks the same numbers at compile time.
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

struct Layout {
    c_type: String,
    size: usize,
    fields: Vec<(&'static str, usize)>,
}

macro_rules! c_field {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $c:literal) => {
        $c
    };
}

macro_rules! layouts {
    ($($kind:ident $name:ident($size:literal) { $($field:ident $($c:literal)? = $offset:literal),* $(,)? })*) => {
        fn layouts() -> Vec<Layout> {
            vec![$(Layout {
                c_type: format!("{} {}", stringify!($kind), stringify!($name)),
                size: $size,
                fields: vec![$((c_field!($field $($c)?), $offset)),*],
            }),*]
        }
    };
}
include!("../src/layout.rs");

const HEADERS: &str = "xen nmi event_channel grant_table memory physdev platform sched vcpu callback version sysctl domctl io/blkif io/netif io/console";

fn c_program() -> String {
    let mut c = String::from("#define __XEN_TOOLS__ 1\n#include <stddef.h>\n#include <stdint.h>\n");
    for header in HEADERS.split(' ') {
        writeln!(c, "#include <xen/{header}.h>").unwrap();
    }
    for layout in layouts() {
        let name = &layout.c_type;
        writeln!(
            c,
            "_Static_assert(sizeof({name}) == {}, \"size of {name}\");",
            layout.size
        )
        .unwrap();
        for (field, offset) in layout.fields {
            let field = field.trim_start_matches("r#");
            writeln!(
                c,
                "_Static_assert(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");"
            )
            .unwrap();
        }
    }
    c
}

#[test]
fn layouts_equal_the_c_headers() {
    let root = std::env::var("XEN_HEADERS").unwrap_or_else(|_| "/usr/include".into());
    if !Path::new(&root).join("xen/xen.h").exists() {
        println!("skipped: no Xen headers in {root}");
        return;
    }
    let source = std::env::temp_dir().join(format!("xen-abi-layout-{}.c", std::process::id()));
    std::fs::write(&source, c_program()).unwrap();
    let result = Command::new("cc")
        .arg("-fsyntax-only")
        .arg("-I")
        .arg(&root)
        .arg(&source)
        .output();
    let _ = std::fs::remove_file(&source);
    match result {
        Err(error) => println!("skipped: no C compiler ({error})"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
    }
}
