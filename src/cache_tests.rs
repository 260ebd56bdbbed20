use super::*;
use crate::bpf::{Insn, op};
use crate::policy::Action;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn entry(errno: u16) -> Entry {
    let ret = Insn {
        code: op::RET_K,
        jt: 0,
        jf: 0,
        k: Action::Errno(errno).to_ret(),
    };
    Entry {
        program: Program::new(vec![ret]).unwrap(),
        flags: Flags {
            tsync: true,
            spec_allow: true,
            ..Flags::default()
        },
        listener: Some(Listener {
            path: "/run/agent".into(),
            metadata: Some(String::new()),
        }),
    }
}

fn key(name: &str) -> Key {
    Key::new(&[name.as_bytes()])
}

/// A cache, and the folder that it is in.
fn cache() -> (tempfile::TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir.path().join("cache")).unwrap();
    (dir, cache)
}

fn file(dir: &tempfile::TempDir, key: &Key) -> PathBuf {
    dir.path().join("cache").join(key.file_name())
}

#[test]
fn an_entry_comes_back_as_it_was() {
    let (_dir, cache) = cache();
    let mut plain = entry(2);
    plain.listener = None;
    for (name, entry) in [("a", entry(1)), ("b", plain)] {
        assert_eq!(cache.get(&key(name)), None);
        cache.put(&key(name), &entry).unwrap();
        assert_eq!(cache.get(&key(name)), Some(entry));
    }
    assert_eq!(cache.list().unwrap().len(), 2);
    assert_eq!(cache.clear().unwrap(), 2);
    assert_eq!(cache.get(&key("a")), None);
}

#[test]
fn what_would_not_be_read_is_not_kept() {
    let (dir, cache) = cache();
    let mut entry = entry(1);
    let long = "x".repeat(MAX_ENTRY as usize);
    entry.listener = entry.listener.map(|l| Listener {
        metadata: Some(long),
        ..l
    });
    let kept = cache.put(&key("a"), &entry).unwrap_err();
    assert_eq!(kept.raw_os_error(), Some(nix::libc::EFBIG));
    assert!(!file(&dir, &key("a")).exists());
}

#[test]
fn what_another_left_half_written_is_in_nobodys_way() {
    let (dir, cache) = cache();
    let key = key("a");
    let left = format!(".{}.{}", getpid(), key.file_name());
    fs::write(dir.path().join("cache").join(left), "half").unwrap();
    cache.put(&key, &entry(1)).unwrap();
    assert_eq!(cache.get(&key), Some(entry(1)));
}

#[test]
fn parts_are_told_apart() {
    assert_ne!(Key::new(&[b"ab", b"c"]), Key::new(&[b"a", b"bc"]));
    assert_ne!(Key::new(&[b"ab"]), Key::new(&[b"ab", b""]));
}

#[test]
fn one_flipped_bit_anywhere_makes_it_no_entry() {
    let (dir, cache) = cache();
    let key = key("a");
    cache.put(&key, &entry(1)).unwrap();
    let path = file(&dir, &key);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(cache.get(&key), None, "byte {at}");
        fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(cache.get(&key), None, "cut to {at}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(cache.get(&key), Some(entry(1)));
}

#[test]
fn an_entry_under_another_name_is_none() {
    let (dir, cache) = cache();
    cache.put(&key("a"), &entry(1)).unwrap();
    fs::rename(file(&dir, &key("a")), file(&dir, &key("b"))).unwrap();
    assert_eq!(cache.get(&key("b")), None);
}

#[test]
fn a_file_that_others_may_write_to_or_that_is_a_link_is_no_entry() {
    let (dir, cache) = cache();
    let key = key("a");
    cache.put(&key, &entry(1)).unwrap();
    let path = file(&dir, &key);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
    assert_eq!(cache.get(&key), None);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(cache.get(&key).is_some());
    let real = dir.path().join("real");
    fs::rename(&path, &real).unwrap();
    symlink(&real, &path).unwrap();
    assert_eq!(cache.get(&key), None);
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, Mode::S_IRUSR).unwrap();
    assert_eq!(cache.get(&key), None, "and is not waited for");
}

#[test]
fn a_folder_that_others_may_enter_or_that_is_a_link_is_no_cache() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let open = |path: &Path| Cache::open(path).map(drop).map_err(|e| e.raw_os_error());
    assert_eq!(open(&path), Err(Some(libc::EPERM)));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(open(&path), Ok(()));
    symlink(&path, dir.path().join("link")).unwrap();
    assert_eq!(open(&dir.path().join("link")), Err(Some(libc::ELOOP)));
    if geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(1), None).unwrap();
        assert_eq!(open(&path), Err(Some(libc::EPERM)));
    }
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(open(&dir.path().join("file")), Err(Some(libc::ENOTDIR)));
}

#[test]
fn the_oldest_go_and_what_nobody_finished_writing() {
    let (dir, cache) = cache();
    let old = |path: &Path, seconds| {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    let half = dir.path().join("cache/.1.half.bpf");
    fs::write(&half, "half").unwrap();
    let recent = dir.path().join("cache/.2.half.bpf");
    fs::write(&recent, "half").unwrap();
    old(&half, 3600);
    for n in 0..MAX_ENTRIES + 3 {
        let key = key(&n.to_string());
        cache.put(&key, &entry(1)).unwrap();
        if n < 5 {
            old(&file(&dir, &key), 1000 - n as u64);
        }
    }
    assert!(!half.exists() && recent.exists());
    let kept = cache.list().unwrap();
    assert!(kept.len() < MAX_ENTRIES && kept.len() > MAX_ENTRIES - 5);
    assert!(!file(&dir, &key("0")).exists() && !file(&dir, &key("1")).exists());
    let newest = key(&(MAX_ENTRIES + 2).to_string());
    assert!(file(&dir, &newest).exists());
}

#[test]
fn many_at_once_do_not_hinder_each_other() {
    let (dir, _) = cache();
    let path = dir.path().join("cache");
    let threads: Vec<_> = (0..8)
        .map(|n: u16| {
            let path = path.clone();
            std::thread::spawn(move || {
                let cache = Cache::open(&path).unwrap();
                for i in 0..50u16 {
                    let (key, entry) = (key(&(i % 7).to_string()), entry(i % 7));
                    // One of two threads of a process may find the other's
                    // new file; two processes have names of their own.
                    let _ = cache.put(&key, &entry);
                    let got = cache.get(&key);
                    assert!(got.is_none_or(|got| got == entry), "{n}");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn a_read_only_folder_keeps_nothing_and_harms_nobody() {
    let path = Path::new("/proc/self/cache");
    assert!(Cache::open(path).is_err());
}
