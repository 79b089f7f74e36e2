#include "sparknet/distributed/workers.h"

#include <exception>
#include <thread>

namespace sparknet {

void in_parallel(int count, const std::function<void(int)>& work) {
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
  std::vector<std::thread> threads;
  for (int index = 0; index < count; ++index)
    threads.emplace_back([&, index] {
      try {
        work(index);
      } catch (...) {
        errors[static_cast<std::size_t>(index)] = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace sparknet
