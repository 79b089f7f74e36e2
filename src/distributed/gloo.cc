#include "sparknet/distributed/gloo.h"

#include <gloo/transport/context.h>
#include <gloo/transport/device.h>
#include <gloo/transport/tcp/device.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

#include "src/distributed/message_group.h"

namespace sparknet {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

/// Stands for no limit, for which Gloo has no word in a wait.
constexpr Milliseconds for_ever = std::chrono::hours(24 * 365);

Milliseconds rounded_up(std::chrono::nanoseconds time) {
  return std::clamp(std::chrono::ceil<Milliseconds>(time), Milliseconds(0), for_ever);
}

/// What of Gloo's text is for people: it begins with a place in its sources.
std::string reason(const std::exception& error) {
  const std::string_view text = error.what();
  const std::size_t end = text.starts_with('[') ? text.find("] ") : std::string_view::npos;
  return std::string(end == std::string_view::npos ? text : text.substr(end + 2));
}

std::string to_hex(const std::vector<char>& bytes) {
  std::string text;
  for (const char byte : bytes) fmt::format_to(std::back_inserter(text), "{:02x}", static_cast<unsigned char>(byte));
  return text;
}

/// The first address of `host` at which this process can listen, in digits: Debian 12's Gloo crashes on a name
/// that nobody knows. Empty stands for the machine's own name. Throws TransportError.
std::string address_of(std::string host) {
  char name[256] = "";
  if (host.empty() && gethostname(name, sizeof name - 1) == 0) host = name;
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int status = getaddrinfo(host.c_str(), nullptr, &hints, &found); status != 0)
    throw detail::TransportError(gai_strerror(status));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  for (const addrinfo* at = found; at; at = at->ai_next) {
    const int socket = ::socket(at->ai_family, at->ai_socktype, at->ai_protocol);
    const bool is_here = socket >= 0 && bind(socket, at->ai_addr, at->ai_addrlen) == 0;
    if (socket >= 0) close(socket);
    char digits[NI_MAXHOST];
    if (is_here && getnameinfo(at->ai_addr, at->ai_addrlen, digits, sizeof digits, nullptr, 0, NI_NUMERICHOST) == 0)
      return digits;
  }
  throw detail::TransportError("it is no address of this machine");
}

/// Empty where the text is something else.
std::vector<char> from_hex(std::string_view text) {
  std::vector<char> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    unsigned char byte = 0;
    const auto [end, status] = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
    if (status != std::errc() || end != text.data() + i + 2) return {};
    bytes.push_back(static_cast<char>(byte));
  }
  return text.size() % 2 == 0 ? bytes : std::vector<char>();
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t end = text.find(' ');
    words.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return words;
    text.remove_prefix(end + 1);
  }
}

class GlooTransport {
 public:
  struct Message {
    std::unique_ptr<gloo::transport::UnboundBuffer> buffer;
    int member;
    bool is_sent, is_done = false;

    void wait(Milliseconds time) {
      if (is_sent)
        buffer->waitSend(time);
      else
        buffer->waitRecv(time);
      is_done = true;
    }
  };
  using Requests = std::vector<Message>;

  GlooTransport(int rank, int size, const AllGather& all_gather, const GlooOptions& options)
      : rank_(rank), size_(size) {
    if (size < 1 || rank < 0 || rank >= size) throw Error(fmt::format("a group of {} has no member {}", size, rank));
    open(options);
    const std::vector<std::string> lines = all_gather(address());
    if (static_cast<int>(lines.size()) != size)
      throw Error(fmt::format("a group of {}: {} addresses came back", size, lines.size()));
    for (int other = 0; other < size; ++other)
      if (other != rank) connect(other, lines[static_cast<std::size_t>(other)]);
  }

  int rank() const { return rank_; }
  int size() const { return size_; }
  static bool works_on_any_thread() { return true; }

  void receive(std::span<std::byte> bytes, int from, int tag, Requests& requests) {
    begin(bytes.data(), bytes.size(), from, tag, false, requests);
  }

  void send(std::span<const std::byte> bytes, int to, int tag, Requests& requests) {
    begin(const_cast<std::byte*>(bytes.data()), bytes.size(), to, tag, true, requests);  // Gloo only reads it
  }

  bool are_done(Requests& requests, Clock::time_point deadline) {
    for (Message& message : requests) {
      const bool is_limited = deadline != Clock::time_point::max();
      try {
        message.wait(is_limited ? rounded_up(deadline - Clock::now()) : for_ever);
      } catch (const std::exception& error) {
        if (Clock::now() >= deadline) return false;
        throw detail::TransportError(fmt::format("rank {} is gone: {}", message.member, reason(error)));
      }
    }
    return true;
  }

  /// Gloo has given up all that was under way when the first was late; what had come by then is known to have.
  std::vector<int> missing(Requests& requests) {
    std::vector<int> members;
    for (Message& message : requests) {
      try {
        if (!message.is_done) message.wait(Milliseconds(0));
      } catch (const std::exception&) {
        members.push_back(message.member);
      }
    }
    return members;
  }

  void finish() {}

 private:
  void open(const GlooOptions& options) {
    try {
      device_ = gloo::transport::tcp::CreateDevice({address_of(options.host).c_str()});
      context_ = device_->createContext(rank_, size_);
      context_->setTimeout(options.timeout.count() > 0 ? rounded_up(options.timeout) : for_ever);
      for (int other = 0; other < size_; ++other)
        if (other != rank_) context_->createPair(other);
    } catch (const std::exception& error) {
      throw Error(fmt::format(
          "rank {} of {} cannot listen at {}: {}",
          rank_,
          size_,
          options.host.empty() ? "this machine's name" : fmt::format("\"{}\"", options.host),
          reason(error)));
    }
  }

  /// Where each other member connects to, as one line of words; this member's own is a dash.
  std::string address() const {
    std::vector<std::string> words;
    for (int other = 0; other < size_; ++other)
      words.push_back(other == rank_ ? "-" : to_hex(context_->getPair(other)->address().bytes()));
    return fmt::format("{}", fmt::join(words, " "));
  }

  void connect(int other, const std::string& line) {
    const std::vector<std::string_view> words = split(line);
    std::vector<char> bytes;
    if (words.size() == static_cast<std::size_t>(size_)) bytes = from_hex(words[static_cast<std::size_t>(rank_)]);
    if (bytes.size() != context_->getPair(other)->address().bytes().size())
      throw Error(fmt::format("rank {} of {}: what rank {} sent is no address: \"{}\"", rank_, size_, other, line));
    try {
      context_->getPair(other)->connect(bytes);
    } catch (const std::exception& error) {
      throw Error(fmt::format("rank {} of {} has no connection to rank {}: {}", rank_, size_, other, reason(error)));
    }
  }

  void begin(std::byte* data, std::size_t bytes, int member, int tag, bool is_sent, Requests& requests) {
    try {
      requests.push_back({context_->createUnboundBuffer(data, bytes), member, is_sent});
      const Message& message = requests.back();
      if (is_sent)
        message.buffer->send(member, static_cast<std::uint64_t>(tag));
      else
        message.buffer->recv(member, static_cast<std::uint64_t>(tag));
    } catch (const std::exception& error) {
      throw detail::TransportError(fmt::format("rank {} is gone: {}", member, reason(error)));
    }
  }

  int rank_, size_;
  std::shared_ptr<gloo::transport::Device> device_;
  std::shared_ptr<gloo::transport::Context> context_;
};

}  // namespace

std::unique_ptr<Communicator> gloo_communicator(
    int rank, int size, const AllGather& all_gather, const GlooOptions& options) {
  return std::make_unique<detail::MessageGroup<GlooTransport>>(options.timeout, rank, size, all_gather, options);
}

}  // namespace sparknet
