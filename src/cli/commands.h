#pragma once

// What the program `sparknet` does. Each command returns the exit status; what goes wrong is thrown.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sparknet/caffe/database.h"
#include "sparknet/net.h"

namespace sparknet::cli {

/// The command line asks for something that makes no sense: exit status 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// A net as Caffe's options name it.
struct NetArguments {
  std::string model;
  /// Files of weights, separated by commas.
  std::string weights;
  Phase phase = Phase::Test;
  int level = 0;
  /// Separated by commas.
  std::string stage;
  int threads = 0;
  Device device = {};
  bool bf16 = false, recompute = false, freeze = false;
  std::optional<bool> nhwc = {};
};

NetOptions net_options(const NetArguments& arguments, std::vector<std::string> keep = {});
/// The net, with the weights if there are any. What the weights lack is said on stderr.
Net open_net(const NetArguments& arguments, std::vector<std::string> keep = {});
void load_weights(Net& net, const std::string& files);
/// The same net, frozen where that can be.
NetArguments frozen(NetArguments arguments);
/// "a,b" -> a, b
std::vector<std::string> split(const std::string& text);
/// Throws where an input of the net has no feed.
void require_feeds(Net& net);
/// "accuracy = 0.9906": numbers as Caffe prints them, with six digits.
std::string result_text(const std::string& output, double value);

struct ConvertArguments {
  std::vector<std::filesystem::path> files;
  std::filesystem::path out;
  caffe::Database backend = caffe::Database::LMDB;
};
int convert_mnist(const ConvertArguments& arguments);
int convert_cifar10(const ConvertArguments& arguments);

struct TestArguments {
  NetArguments net;
  std::int64_t iterations = 50;
};
int test(const TestArguments& arguments);

/// What a signal does to training.
enum class Effect : std::uint8_t { Stop, Snapshot, None };

struct TrainArguments {
  std::string solver, weights, snapshot;
  Effect sigint = Effect::Stop, sighup = Effect::Snapshot;
  int level = 0;
  std::string stage;
  int threads = 0;
  Device device = {};
  bool bf16 = false, recompute = false;
  std::optional<bool> nhwc = {};
};
int train(const TrainArguments& arguments);

int summary(const NetArguments& arguments);
int device_query();

struct DrawArguments {
  NetArguments net;
  /// Empty: stdout.
  std::filesystem::path out;
};
int draw(const DrawArguments& arguments);

struct ExtractArguments {
  NetArguments net;
  std::string blobs;
  std::filesystem::path out;
  /// Batches; none: until every example was seen once.
  std::optional<std::int64_t> iterations;
};
int extract(const ExtractArguments& arguments);

struct TimeArguments {
  NetArguments net;
  std::int64_t iterations = 50;
};
int time(const TimeArguments& arguments);

}  // namespace sparknet::cli
