//! The library's API as its source declares it: every public item that is not
//! hidden, without bodies and comments.
//!
//! By the source and not by rustdoc's JSON, which no stable compiler writes.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{
    Attribute, Field, Fields, FieldsNamed, FieldsUnnamed, File, ImplItem, Item, ItemImpl, ItemMod,
    Type, Visibility, parse_quote,
};

/// All of it, as Rust would have it in one file.
pub fn declared() -> String {
    let mut root = parse(&source().join("lib.rs"));
    root.attrs.clear();
    root.items.retain_mut(|item| match item {
        Item::Mod(module) => {
            let shown = is_public(&module.vis) && !is_hidden(&module.attrs);
            if shown {
                module.attrs.clear();
                module.semi = None;
                module.content = Some((Default::default(), contents(&module.ident.to_string())));
            }
            shown
        }
        item => show(item, &BTreeSet::new()),
    });
    prettyplease::unparse(&root)
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn parse(path: &Path) -> File {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a module shows, with what its files below implement for its types.
fn contents(module: &str) -> Vec<Item> {
    let folder = source().join(module);
    let mut items = match folder.is_dir() {
        true => parse(&folder.join("mod.rs")).items,
        false => parse(&folder.with_extension("rs")).items,
    };
    let below = items.iter().filter_map(|item| match item {
        Item::Mod(ItemMod {
            ident,
            attrs,
            content: None,
            ..
        }) if !is_test(attrs) => Some(folder.join(format!("{ident}.rs"))),
        _ => None,
    });
    let below: Vec<Item> = below.flat_map(|file| parse(&file).items).collect();
    let named = |item: &Item, shown: fn(&Visibility) -> bool| match item {
        Item::Struct(i) if shown(&i.vis) => Some(i.ident.to_string()),
        Item::Enum(i) if shown(&i.vis) => Some(i.ident.to_string()),
        _ => None,
    };
    // A type of neither kind is declared by a macro, which is shown.
    let mut private: BTreeSet<String> = below.iter().filter_map(|i| named(i, |_| true)).collect();
    private.extend(items.iter().filter_map(|i| named(i, |vis| !is_public(vis))));
    items.extend(below.into_iter().filter(|i| matches!(i, Item::Impl(_))));
    items.retain_mut(|item| show(item, &private));
    items
}

/// Whether an item is of the API; leaves of it what is. What is implemented
/// for a private type is not.
fn show(item: &mut Item, private: &BTreeSet<String>) -> bool {
    let (vis, attrs) = match item {
        Item::Const(i) => (&i.vis, &mut i.attrs),
        Item::Enum(i) => {
            for variant in &mut i.variants {
                trim(&mut variant.attrs);
                variant.fields.iter_mut().for_each(|f| trim(&mut f.attrs));
            }
            (&i.vis, &mut i.attrs)
        }
        Item::Fn(i) => {
            i.block = parse_quote!({});
            (&i.vis, &mut i.attrs)
        }
        Item::Impl(i) => return show_impl(i, private),
        // Where types are declared by a macro, all of it counts.
        Item::Macro(i) => {
            trim(&mut i.attrs);
            return true;
        }
        Item::Struct(i) => {
            show_fields(&mut i.fields);
            (&i.vis, &mut i.attrs)
        }
        Item::Type(i) => (&i.vis, &mut i.attrs),
        Item::Use(i) => (&i.vis, &mut i.attrs),
        Item::Mod(i) => {
            let shown = is_public(&i.vis) && !is_hidden(&i.attrs);
            assert!(!shown, "a public module in a module: {}", i.ident);
            return false;
        }
        Item::Static(i) => (&i.vis, &mut i.attrs),
        Item::Trait(i) => (&i.vis, &mut i.attrs),
        _ => return false,
    };
    let shown = is_public(vis) && !is_hidden(attrs);
    trim(attrs);
    shown
}

/// `_` stands for all private fields: with one, nobody else can make the value.
fn show_fields(fields: &mut Fields) {
    fields.iter_mut().for_each(|f| trim(&mut f.attrs));
    let private: Field = match fields {
        Fields::Named(_) => parse_quote!(private: _),
        _ => parse_quote!(_),
    };
    if let Fields::Named(FieldsNamed { named: fields, .. })
    | Fields::Unnamed(FieldsUnnamed {
        unnamed: fields, ..
    }) = fields
    {
        let all = fields.len();
        let mut shown: Vec<Field> = std::mem::take(fields).into_iter().collect();
        shown.retain(|f| is_public(&f.vis));
        shown.extend((shown.len() < all).then_some(private));
        fields.extend(shown);
    }
}

fn show_impl(i: &mut ItemImpl, private: &BTreeSet<String>) -> bool {
    let Type::Path(of) = &*i.self_ty else {
        return false;
    };
    let of = of.path.segments.last().expect("a name").ident.to_string();
    trim(&mut i.attrs);
    if i.trait_.is_some() {
        i.items.retain(|item| matches!(item, ImplItem::Type(_)));
        return !private.contains(&of);
    }
    i.items.retain_mut(|item| {
        let (vis, attrs) = match item {
            ImplItem::Fn(f) => {
                f.block = parse_quote!({});
                (&f.vis, &mut f.attrs)
            }
            ImplItem::Const(c) => (&c.vis, &mut c.attrs),
            _ => return false,
        };
        let shown = is_public(vis) && !is_hidden(attrs);
        trim(attrs);
        shown
    });
    !private.contains(&of) && !i.items.is_empty()
}

fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

fn has(attrs: &[Attribute], name: &str, word: &str) -> bool {
    let named = attrs.iter().filter(|a| a.path().is_ident(name));
    named
        .filter_map(|a| a.meta.require_list().ok())
        .any(|list| list.tokens.to_string() == word)
}

fn is_hidden(attrs: &[Attribute]) -> bool {
    has(attrs, "doc", "hidden")
}

fn is_test(attrs: &[Attribute]) -> bool {
    has(attrs, "cfg", "test")
}

/// Keeps the attributes that are of the API: what is derived, what may grow,
/// and what converts.
fn trim(attrs: &mut Vec<Attribute>) {
    let kept = ["derive", "non_exhaustive", "from", "cfg", "repr", "default"];
    attrs.retain(|a| kept.iter().any(|kept| a.path().is_ident(kept)));
}
