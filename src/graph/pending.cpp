// On its way: goes when arithmetic nodes are there.

#include "graph/addition.hpp"

#include <metalloid/error.hpp>

namespace metalloid::detail {

Ref<GraphNode> makeAddition(const Ref<GraphNode>&, const Ref<GraphNode>&) {
  throw Error(ErrorCode::unsupported, "Additions in training graphs are not there yet.");
}

}  // namespace metalloid::detail
