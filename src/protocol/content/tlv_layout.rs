//! TLV elements laid over the requested path.
//!
//! An answer has many shapes in the field: with or without the Object Instance around it, Resource Instances without
//! their Multiple Resource, a single value under another identifier. All of them say what they mean and are taken;
//! what lies outside the request beside other values is refused.

use crate::model::object::ResourceTypes;
use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::value::Value;

use super::quirk::{self, Quirks};
use super::tlv::{Content, Element, Kind, parse};
use super::tlv_value::value_of;
use super::{ContentError, DecodeContext, scalar};

pub(super) fn decode(
    payload: &[u8],
    context: &DecodeContext<'_>,
    quirks: &mut Quirks,
) -> Result<Vec<Sample>, ContentError> {
    let elements = parse(payload)?;
    let mut layout = Layout { base: context.base, types: context.types, quirks, samples: Vec::new() };
    layout.top(&elements)?;
    Ok(layout.samples)
}

/// Lays elements over the requested path.
struct Layout<'c, 'q> {
    base: Path,
    types: &'c dyn ResourceTypes,
    quirks: &'q mut Quirks,
    samples: Vec<Sample>,
}

impl Layout<'_, '_> {
    fn top(&mut self, elements: &[Element<'_>]) -> Result<(), ContentError> {
        let Some(first) = elements.first() else { return Ok(()) };
        let Some(object) = self.base.truncated(1) else {
            return Err(ContentError::unfitting("TLV names no object, and neither does the request"));
        };
        match (first.kind, self.base.truncated(2), self.base.truncated(3)) {
            (Kind::ObjectInstance, _, _) => self.instances(object, elements),
            (Kind::Resource | Kind::MultipleResource, Some(instance), _) => self.resources(instance, elements),
            (Kind::Resource | Kind::MultipleResource, None, _) => {
                self.quirks.note(quirk::TLV_NO_INSTANCE);
                self.children(object, 0, |layout, instance| layout.resources(instance, elements))
            }
            (Kind::ResourceInstance, _, Some(resource)) => {
                if self.base.depth() == 3 {
                    self.quirks.note(quirk::TLV_OTHER_LEVEL);
                }
                self.resource_instances(resource, elements)
            }
            (Kind::ResourceInstance, _, None) => {
                Err(ContentError::unfitting(format!("TLV holds resource instances, and {} is no resource", self.base)))
            }
        }
    }

    fn instances(&mut self, object: Path, elements: &[Element<'_>]) -> Result<(), ContentError> {
        if self.base.depth() > 2 {
            self.quirks.note(quirk::TLV_WRAPPED);
        }
        for (element, id) in elements.iter().zip(self.placed(1, elements)?) {
            if let Content::Elements(resources) = &element.content {
                self.children(object, id, |layout, instance| layout.resources(instance, resources))?;
            }
        }
        Ok(())
    }

    fn resources(&mut self, instance: Path, elements: &[Element<'_>]) -> Result<(), ContentError> {
        for (element, id) in elements.iter().zip(self.placed(2, elements)?) {
            self.children(instance, id, |layout, resource| match &element.content {
                Content::Elements(instances) => layout.resource_instances(resource, instances),
                Content::Value(bytes) if layout.base.depth() == 4 => {
                    layout.quirks.note(quirk::TLV_OTHER_LEVEL);
                    layout.value(layout.base, bytes)
                }
                Content::Value(bytes) => layout.value(resource, bytes),
            })?;
        }
        Ok(())
    }

    fn resource_instances(&mut self, resource: Path, elements: &[Element<'_>]) -> Result<(), ContentError> {
        for (element, id) in elements.iter().zip(self.placed(3, elements)?) {
            if let Content::Value(bytes) = &element.content {
                self.children(resource, id, |layout, path| layout.value(path, bytes))?;
            }
        }
        Ok(())
    }

    /// The identifiers of `elements` as parts of paths at `position`: those of the elements, but what was asked for
    /// where a single element has another one.
    fn placed(&mut self, position: usize, elements: &[Element<'_>]) -> Result<Vec<u16>, ContentError> {
        let mut ids: Vec<u16> = elements.iter().map(|element| element.id).collect();
        if let Some(wanted) = self.base.ids().get(position).copied() {
            if let [id] = ids.as_mut_slice() {
                if *id != wanted {
                    self.quirks.note(quirk::TLV_OTHER_ID);
                    *id = wanted;
                }
            } else if let Some(other) = ids.iter().find(|id| **id != wanted) {
                return Err(ContentError::unfitting(format!(
                    "TLV holds identifier {other} among others, which lies outside {}",
                    self.base
                )));
            }
        }
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair.first() == pair.last()).and_then(<[u16]>::first) {
            Some(id) => Err(ContentError::malformed(format!("TLV holds identifier {id} twice"))),
            None => Ok(ids),
        }
    }

    fn children(
        &mut self,
        parent: Path,
        id: u16,
        lay: impl FnOnce(&mut Self, Path) -> Result<(), ContentError>,
    ) -> Result<(), ContentError> {
        let path =
            parent.child(id).ok_or_else(|| ContentError::unfitting(format!("TLV holds elements below {parent}")))?;
        lay(self, path)
    }

    fn value(&mut self, path: Path, bytes: &[u8]) -> Result<(), ContentError> {
        let shape = self.types.shape(&path);
        if let Some(shape) = shape {
            scalar::note_multiplicity(&path, shape, self.quirks);
        }
        let value = match shape.and_then(|shape| shape.resource_type) {
            None => Value::Opaque(bytes.to_vec()),
            Some(wanted) => value_of(bytes, wanted, self.quirks).ok_or_else(|| {
                ContentError::unfitting(format!("{path} is of type {wanted}, not these {} bytes", bytes.len()))
            })?,
        };
        self.samples.push(Sample { path, value, ts: None });
        Ok(())
    }
}
