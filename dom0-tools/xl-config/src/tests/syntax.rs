use super::{domain, problems, read};
use crate::{Action, Affinity, Kind, TscMode, parse, parse_pair};

#[test]
fn reads_a_file_as_users_write_it() {
    let text = "\u{feff}# a guest\r\nname = \"web\" # its name\r\nkernel='/boot/vmlinuz'; ramdisk = '/boot/i'\r\n\
                memory = 0x100\nmaxmem = \"512\"\nvcpus=2\nmaxvcpus = 010\nroot='/dev/xvda ro'\nextra='quiet'\n\
                disk = [\n  '/dev/vg/a,raw,xvda,rw', # first\n\n  'file:/b.img,xvdb,r',\n]\nvif = [ '', ]\n";
    let (config, problems) = read(text);
    assert_eq!(problems, []);
    let config = config.expect("a domain");
    assert_eq!((config.memory_kib, config.max_memory_kib), (256 * 1024, 512 * 1024));
    assert_eq!((config.vcpus, config.max_vcpus), (2, 8));
    assert_eq!(config.boot.command_line, "root=/dev/xvda ro quiet");
    assert_eq!(config.disks.len(), 2);
    assert_eq!(config.disks[1].target.as_deref(), Some("/b.img"));
    assert!(!config.disks[1].writable);
    assert_eq!(config.vifs.len(), 1);
}

#[test]
fn names_line_and_cause_of_each_syntax_error() {
    let (document, problems) = parse("t.cfg", "a=1\nb c\nd='x\ne=[1,\n2\nf=zzz\n\n");
    let printed: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(printed[0], "t.cfg:2: b: an = must follow the key");
    assert_eq!(printed[1], "t.cfg:3: d: the string has no closing '");
    assert!(
        printed[2].starts_with("t.cfg:6: e: elements of a list are separated by commas"),
        "{printed:?}"
    );
    assert_eq!(document.settings.len(), 1);
    let (_, problems) = parse("t.cfg", "disk=[ 'a',\n 'b',\n");
    assert_eq!(
        problems[0].to_string(),
        "t.cfg:1: disk: the list that begins here has no closing ]"
    );
}

#[test]
fn resolves_escapes() {
    let (document, problems) = parse("t", r#"a = "q\"\\\x41\101\n" ; b='\q'"#);
    assert_eq!(document.settings[0].value.kind, Kind::Text("q\"\\AA\n".into()));
    assert!(problems[0].to_string().contains("\\q is not known"), "{problems:?}");
}

#[test]
fn later_settings_win_and_plus_adds() {
    let (mut document, _) = parse("t.cfg", "name='a'\nextra='x'\nextra += ' y'\ndisk=['1']\ndisk+=['2']\n");
    document.overlay(parse_pair("name=\"b\"; memory=9").0);
    let text = |key: &str| document.effective(key).expect("set").value;
    assert_eq!(text("name").as_text(), Some("b"));
    assert_eq!(text("memory").as_text(), Some("9"));
    assert_eq!(text("extra").as_text(), Some("x y"));
    assert!(matches!(text("disk").kind, Kind::List(values) if values.len() == 2));
}

#[test]
fn takes_what_a_shell_has_left_of_a_pair() {
    let (document, problems) = parse_pair("extra=console=hvc0 quiet");
    assert_eq!(problems, []);
    assert_eq!(document.settings[0].value.as_text(), Some("console=hvc0 quiet"));
    assert_eq!(parse_pair("name=web").0.settings[0].value.as_text(), Some("web"));
    assert_eq!(parse_pair("disk=['a','b'").1.len(), 1, "a broken list is not a string");
    assert!(!parse_pair("/etc/a=b").1.is_empty());
}

#[test]
fn no_key_is_passed_over_in_silence() {
    let printed = problems("memroy=3\nfrobnicate=1\nhpet=1\npci=['01:00.0']\nvfb=[]\nvnc=0\nbootloader='pygrub'");
    assert_eq!(
        printed[0],
        "t.cfg:1: warning: memroy: unknown key, ignored; did you mean memory?"
    );
    assert_eq!(printed[1], "t.cfg:2: warning: frobnicate: unknown key, ignored");
    assert_eq!(
        printed[2],
        "t.cfg:3: warning: hpet: has no effect: it concerns HVM guests only"
    );
    assert!(printed[3].starts_with("t.cfg:4: pci: "), "{printed:?}");
    assert!(printed[4].starts_with("t.cfg:7: bootloader: "), "{printed:?}");
    assert_eq!(printed.len(), 5, "{printed:?}");
}

#[test]
fn warns_of_what_is_set_twice() {
    assert_eq!(
        problems("vcpus=1\nvcpus=2"),
        ["t.cfg:1: warning: vcpus: is set again in line 2, which counts"]
    );
}

#[test]
fn refuses_wrong_kinds_and_ranges() {
    let one = |text: &str| problems(text).join("|");
    assert_eq!(one("vcpus=0"), "t.cfg:1: vcpus: 0 is out of range; write 1 to 8192");
    assert_eq!(one("vcpus='two'"), "t.cfg:1: vcpus: must be a number, not \"two\"");
    assert_eq!(one("extra=['a']"), "t.cfg:1: extra: must be a string, not a list");
    assert_eq!(one("maxvcpus=2\nvcpus=4"), "t.cfg:1: maxvcpus: is less than vcpus=4");
    assert_eq!(
        one("type='hvm'"),
        "t.cfg:1: type: \"hvm\" guests are not built; write type=\"pv\""
    );
    assert!(one("uuid='12'").contains("is no UUID"));
    assert!(one("on_crash='coredump-restart'").contains("core dumps are not built"));
}

#[test]
fn missing_mandatory_keys_are_named() {
    let (config, problems) = read("memory=3");
    assert!(config.is_none());
    let printed: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        printed,
        [
            "t.cfg: name: is missing; add name=\"…\"",
            "t.cfg: kernel: is missing; add kernel=\"/path/to/vmlinuz\""
        ]
    );
}

#[test]
fn honours_what_concerns_pv_guests() {
    let config = domain(
        "on_poweroff='preserve'\non_reboot='rename-restart'\non_crash='restart'\non_watchdog='destroy'\ncpu_weight=512\n\
         cap=50\ntsc_mode='native'\nmax_grant_frames=64\nmax_grant_version=1\nmax_event_channels=2047\nmsr_relaxed=1\n\
         rtc_timeoffset=-3600\ndriver_domain=1\nuuid='00112233-4455-6677-8899-aabbccddeeff'\nvcpus=2\ncpus='0-1'\ncpus_soft=['0','1']",
    );
    assert_eq!(config.actions.poweroff, Action::Preserve);
    assert_eq!(config.actions.reboot, Action::RenameRestart);
    assert_eq!((config.weight, config.cap), (Some(512), Some(50)));
    assert_eq!(config.tsc_mode, TscMode::Native);
    assert_eq!(
        (config.limits.grant_frames, config.limits.grant_version),
        (Some(64), Some(1))
    );
    assert_eq!(config.limits.event_channels, Some(2047));
    assert!(config.msr_relaxed && config.driver_domain);
    assert_eq!(config.rtc_offset_s, -3600);
    assert_eq!(
        config.uuid.expect("set").to_string(),
        "00112233-4455-6677-8899-aabbccddeeff"
    );
    assert!(matches!(config.hard_affinity, Affinity::Every(_)));
    assert!(matches!(config.soft_affinity, Affinity::Each(ref lists) if lists.len() == 2));
}

#[test]
fn a_firmware_is_a_kernel() {
    let (config, problems) = read("name='g'\nmemory=64\nfirmware='pvgrub64'");
    assert_eq!(problems, []);
    assert_eq!(
        config.expect("a domain").boot.kernel,
        "/usr/lib/xen-4.17/boot/pvgrub64.bin"
    );
}
