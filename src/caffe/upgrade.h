#pragma once

#include <string>
#include <string_view>

#include "src/caffe/proto.h"

namespace sparknet::caffe {

/// Brings a net or a solver of any age to today's form, as Caffe does when it reads one, and returns what was changed
/// as text for a line of a log ("" where nothing was). `file` is the name in the DataError about what cannot be
/// upgraded. A net: layers of 2013 (V0), their padding layers folded into what reads them; layers with numbers for
/// types (V1); what data layers said of the transformation; `input` fields; multipliers of BatchNorm, which never
/// learns. Convolutions of several bottoms, which Caffe has today, become several with shared parameters.
std::string upgrade(proto::NetParameter& net, const std::string& file);
/// A solver: `solver_type` becomes `type`. The nets in it are upgraded too.
std::string upgrade(proto::SolverParameter& solver, const std::string& file);

/// "InnerProduct" for INNER_PRODUCT; "" for NONE.
std::string_view type_name(proto::V1LayerParameter::LayerType type);
/// NONE for a type that 2013 did not have.
proto::V1LayerParameter::LayerType v0_type(std::string_view name);

}  // namespace sparknet::caffe
