#pragma once

#include <string>

#include "sparknet/error.h"

namespace sparknet::testing {

/// What the exception of a call says.
template <class E = Error>
std::string message_of(auto&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace sparknet::testing
