#pragma once

#include <memory>

#include "kernels/cuda/context.h"

namespace sparknet::kernels::cuda {

std::unique_ptr<Upload> make_upload(Context& context, std::size_t bytes);
std::unique_ptr<Upload> make_upload(Context& context, const ByteBatch& batch);
std::unique_ptr<Download> make_download(Context& context, std::size_t bytes, int depth);

}  // namespace sparknet::kernels::cuda
