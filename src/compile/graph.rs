//! A program before it has addresses: nodes that name their successors.
//!
//! Nodes are interned, so equal tails are shared, and a node can only name
//! nodes that exist already, so the graph cannot have a cycle.
#![forbid(unsafe_code)]

use crate::bpf::{Insn, Invalid, Program, op};
use std::collections::HashMap;

/// Names a node of one [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(usize);

/// One instruction and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// Return this value.
    Ret(u32),
    /// Any operation that goes on to one successor: load, mask.
    Op {
        /// Operation code.
        code: u16,
        /// Its constant.
        k: u32,
        /// The successor.
        next: NodeId,
    },
    /// A comparison of the accumulator with a constant.
    Branch {
        /// Operation code.
        code: u16,
        /// The constant.
        k: u32,
        /// Where to go when it holds.
        yes: NodeId,
        /// Where to go when not.
        no: NodeId,
    },
}

/// An acyclic set of nodes.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    ids: HashMap<Node, NodeId>,
}

impl Graph {
    /// Adds a node, or finds the equal one.
    pub fn add(&mut self, node: Node) -> NodeId {
        if let Node::Branch { yes, no, .. } = node
            && yes == no
        {
            return yes;
        }
        *self.ids.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            NodeId(self.nodes.len() - 1)
        })
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Lays the nodes reachable from `root` out as a program.
    ///
    /// It is written from its end: when an instruction is placed, all its
    /// successors have been, so every jump leads forward, and its length is
    /// known when it is written.
    pub fn emit(&self, root: NodeId) -> Result<Program, Invalid> {
        let mut layout = Layout {
            code: Vec::new(),
            placed: vec![None; self.nodes.len()],
        };
        let mut stack = vec![root];
        while let Some(&id) = stack.last() {
            if layout.placed[id.0].is_some() {
                stack.pop();
                continue;
            }
            let node = self.nodes[id.0];
            // Children not placed yet come first. `yes` is pushed first and so
            // placed last: it stands right behind its branch.
            let before = stack.len();
            match node {
                Node::Ret(_) => {}
                Node::Op { next, .. } => stack.extend(layout.missing(next)),
                Node::Branch { yes, no, .. } => {
                    stack.extend(layout.missing(yes));
                    stack.extend(layout.missing(no));
                }
            }
            if stack.len() == before {
                layout.place(id, node);
                stack.pop();
            }
        }
        layout.code.reverse();
        Program::new(layout.code)
    }
}

/// Instructions in reverse: index 0 is the program's last.
struct Layout {
    code: Vec<Insn>,
    placed: Vec<Option<usize>>,
}

impl Layout {
    fn missing(&self, id: NodeId) -> Option<NodeId> {
        self.placed[id.0].is_none().then_some(id)
    }

    fn place(&mut self, id: NodeId, node: Node) {
        let insn = match node {
            Node::Ret(k) => plain(op::RET_K, k),
            Node::Op { code, k, next } => {
                let next = self.at(next);
                if self.distance(next) != 0 {
                    self.relay(next);
                }
                plain(code, k)
            }
            Node::Branch { code, k, yes, no } => {
                let (mut yes, mut no) = (self.at(yes), self.at(no));
                // A relay lengthens the way to the other target by one.
                loop {
                    match (
                        u8::try_from(self.distance(yes)),
                        u8::try_from(self.distance(no)),
                    ) {
                        (Ok(jt), Ok(jf)) => break Insn { code, jt, jf, k },
                        (Err(_), _) => yes = self.relay(yes),
                        (_, Err(_)) => no = self.relay(no),
                    }
                }
            }
        };
        self.placed[id.0] = Some(self.code.len());
        self.code.push(insn);
    }

    /// Where a placed node stands. Children are placed before their parents.
    fn at(&self, id: NodeId) -> usize {
        self.placed[id.0].unwrap_or_default()
    }

    /// Instructions between the next one to be placed and `target`.
    fn distance(&self, target: usize) -> usize {
        self.code.len() - 1 - target
    }

    /// Repeats a far instruction here if it is a return, else jumps to it.
    fn relay(&mut self, target: usize) -> usize {
        let insn = match self.code[target] {
            ret if ret.code == op::RET_K => ret,
            _ => plain(
                op::JA,
                u32::try_from(self.distance(target)).unwrap_or(u32::MAX),
            ),
        };
        self.code.push(insn);
        self.code.len() - 1
    }
}

const fn plain(code: u16, k: u32) -> Insn {
    Insn {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Call;

    #[test]
    fn far_targets_are_reached_over_relays() {
        // 2000 distinct blocks behind a chain of comparisons of the number.
        let mut graph = Graph::default();
        let mut root = graph.add(Node::Ret(1));
        for k in 0..600 {
            let hit = graph.add(Node::Ret(0x0005_0000 + k));
            let hit = graph.add(Node::Op {
                code: op::LD_ABS,
                k: 16,
                next: hit,
            });
            root = graph.add(Node::Branch {
                code: op::JEQ_K,
                k,
                yes: hit,
                no: root,
            });
        }
        root = graph.add(Node::Op {
            code: op::LD_ABS,
            k: 0,
            next: root,
        });
        let program = graph.emit(root).unwrap();
        for nr in 0..601 {
            let call = Call {
                audit: 0,
                nr,
                args: [0; 6],
            };
            let expected = if nr < 600 { 0x0005_0000 + nr } else { 1 };
            assert_eq!(program.run(&call).0, expected, "{nr}");
        }
    }

    #[test]
    fn too_long_a_program_is_refused_with_its_length() {
        let mut graph = Graph::default();
        let mut root = graph.add(Node::Ret(0));
        for k in 0..5000 {
            root = graph.add(Node::Op {
                code: op::AND_K,
                k,
                next: root,
            });
        }
        assert_eq!(graph.emit(root), Err(Invalid::TooLong(5001)));
    }
}
