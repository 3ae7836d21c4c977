//! Reading and changing nodes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use pv_hal::Hal;
use pv_xenbus::{Access, Kind, Permission, Store, StoreError};

use super::{ROOT, below, clear};
use crate::{Bench, Outcome, Stop};

/// Two values that cannot be one message of the ring, nor exceed what a domain's node may hold.
const LONG: usize = 1900;

pub(super) fn values_come_back<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    let every: Vec<u8> = (0..=255).collect();
    for value in [&b"text"[..], b"", b"\0", b"a\0b\0", &every] {
        bench.store.write_bytes(&below("a"), value)?;
        let read = bench.store.read_bytes(&below("a"))?;
        bench.expect(read == value, format_args!("{value:?} comes back as {read:?}"))?;
    }
    Ok(())
}

pub(super) fn long_values_come_back<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    for shift in 0..4 {
        let value: Vec<u8> = (0..LONG + shift).map(|at| (at * 7 + shift) as u8).collect();
        bench.store.write_bytes(&below("long"), &value)?;
        let same = bench.store.read_bytes(&below("long"))? == value;
        bench.expect(same, format_args!("{} bytes do not come back", value.len()))?;
    }
    Ok(())
}

pub(super) fn parents_are_made<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    bench.store.write(&below("a/b/c"), 1)?;
    bench.store.make_directory(&below("d/e"))?;
    for path in ["a", "a/b", "d", "d/e"] {
        let value = bench.store.read(&below(path))?;
        bench.expect(value.is_empty(), format_args!("{path} holds {value}"))?;
    }
    // Making what is there changes nothing.
    bench.store.make_directory(&below("a/b/c"))?;
    bench.expect(bench.store.read(&below("a/b/c"))? == "1", "the value is gone")
}

pub(super) fn children_are_listed<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    let mut names: Vec<_> = (0..60).map(|number| format!("name-{number}")).collect();
    for name in &names {
        bench.store.write(&below(&format!("list/{name}/below")), "")?;
    }
    let mut listed = bench.store.directory(&below("list"))?;
    listed.sort();
    names.sort();
    bench.expect(listed == names, format_args!("the list is {listed:?}"))?;
    let none = bench.store.directory(&below("list/name-0/below"))?;
    bench.expect(none.is_empty(), format_args!("a leaf has children: {none:?}"))
}

pub(super) fn trees_are_removed<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    bench.store.write(&below("a/b/c"), 1)?;
    bench.store.write(&below("ab"), 2)?;
    bench.store.remove(&below("a"))?;
    for path in ["a", "a/b", "a/b/c"] {
        let left = bench.store.read_optional(&below(path))?;
        bench.expect(left.is_none(), format_args!("{path} is still there"))?;
    }
    bench.expect(bench.store.read(&below("ab"))? == "2", "a node beside it is gone")?;
    // The node is not there any more, and the one above it is: that is as good as removed.
    let again = bench.store.call(Kind::RM, &[&below("a")], &[]);
    bench.expect(again.is_ok(), format_args!("removing again: {again:?}"))
}

pub(super) fn missing_nodes<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    let path = below("none");
    for kind in [Kind::READ, Kind::DIRECTORY, Kind::GET_PERMS] {
        let result = bench.store.call(kind, &[&path], &[]);
        bench.expect_refusal(&format!("{kind:?}"), result, &[StoreError::ENOENT])?;
    }
    let list = [Permission::new(0, Access::None)];
    let result = bench.store.set_permissions(&path, &list);
    bench.expect_refusal("an access list for nothing", result, &[StoreError::ENOENT])
}

pub(super) fn bad_paths<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    let long = "x".repeat(2100);
    for bad in ["a//b", "a/", "a b", "a\u{e9}", "a*", "/", "", &long] {
        let path = match bad {
            "/" => "//".to_string(),
            "" => String::new(),
            bad => below(bad),
        };
        let result = bench.store.write(&path, 1);
        bench.expect_refusal(&format!("{bad:?}"), result, &[StoreError::EINVAL])?;
    }
    let names = bench.store.directory(ROOT)?;
    bench.expect(names.is_empty(), format_args!("nodes appear: {names:?}"))
}

pub(super) fn bad_requests<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    // No zero byte ends the path; a request that is none; an answer as a request.
    let unended = bench.store.call(Kind::READ, &[], b"data");
    bench.expect_refusal("a path without an end", unended, &[StoreError::EINVAL])?;
    for number in [23, 99, u32::MAX] {
        let result = bench.store.call(Kind(number), &[ROOT], &[]);
        bench.expect_refusal(
            &format!("request {number}"),
            result,
            &[StoreError::ENOSYS, StoreError::EINVAL],
        )?;
    }
    bench.store.write(&below("after"), 1)?;
    bench.expect(bench.store.read(&below("after"))? == "1", "nothing is served any more")
}

pub(super) fn own_directory<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    let Some(number) = bench.store.read_parsed::<u16>("domid")? else {
        return Err(Stop::NotApplicable("no node domid".into()));
    };
    let number = number.to_string();
    let path = bench.store.call(Kind::GET_DOMAIN_PATH, &[&number], &[])?;
    let expected = format!("/local/domain/{number}\0");
    bench.expect(path == expected.as_bytes(), format_args!("the path is {path:?}"))?;
    bench.store.write(&below("here"), 5)?;
    let full = format!("/local/domain/{number}/{}", below("here"));
    bench.expect(bench.store.read(&full)? == "5", "the full path names another node")
}

pub(super) fn access_lists<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    bench.store.write(&below("a"), 1)?;
    let mut list = bench.store.permissions(&below("a"))?;
    bench.expect(!list.is_empty(), "nobody owns a node")?;
    list.truncate(1);
    list[0].access = Access::None;
    list.push(Permission::new(0, Access::Read));
    bench.store.set_permissions(&below("a"), &list)?;
    let now = bench.store.permissions(&below("a"))?;
    bench.expect(now == list, format_args!("{list:?} is read as {now:?}"))?;
    bench.store.write(&below("a/b"), 1)?;
    let inherited = bench.store.permissions(&below("a/b"))?;
    bench.expect(inherited == list, format_args!("a node below has {inherited:?}"))?;
    let bad = bench.store.call(Kind::SET_PERMS, &[&below("a")], b"x0\0");
    bench.expect_refusal("an access list without meaning", bad, &[StoreError::EINVAL])
}

pub(super) fn others_are_closed<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    for path in ["/tool/conform", "/vm/conform", "/local/domain/0/conform", "/conform"] {
        let result = bench.store.write(path, 1);
        bench.expect_refusal(path, result, &[StoreError::EACCES])?;
        let result = bench.store.call(Kind::RM, &[path], &[]);
        bench.expect_refusal(path, result, &[StoreError::EACCES, StoreError::ENOENT])?;
    }
    Ok(())
}

pub(super) fn toolstack_requests<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let refused = [
        StoreError::EACCES,
        StoreError::EPERM,
        StoreError::EINVAL,
        StoreError::ENOSYS,
    ];
    let requests: [(Kind, &[&str]); 5] = [
        (Kind::INTRODUCE, &["1", "1", "1"]),
        (Kind::RELEASE, &["1"]),
        (Kind::RESUME, &["1"]),
        (Kind::SET_TARGET, &["1", "2"]),
        (Kind::CONTROL, &["print", "conform"]),
    ];
    for (kind, parts) in requests {
        bench.expect_refusal(&format!("{kind:?}"), bench.store.call(kind, parts, &[]), &refused)?;
    }
    Ok(())
}
