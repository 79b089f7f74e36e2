#include <jni.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "sparknet/sparknet_c.h"

// sparknet.Net of src/java over the C ABI. What fails throws in Java, and then nothing more is asked of the JVM.

namespace {

void throw_java(JNIEnv* env, const std::string& message) {
  if (env->ExceptionCheck()) return;
  if (jclass type = env->FindClass("sparknet/SparkNetException")) {
    // NewStringUTF takes the JVM's own UTF-8, which differs from ours beyond the basic plane; String's constructor does
    // not.
    jbyteArray bytes = env->NewByteArray(static_cast<jsize>(message.size()));
    jclass string = env->FindClass("java/lang/String");
    jstring charset = env->NewStringUTF("UTF-8");
    if (!bytes || !string || !charset) return;
    env->SetByteArrayRegion(
        bytes,
        0,
        static_cast<jsize>(message.size()),
        reinterpret_cast<const jbyte*>(message.data()));
    jmethodID make_text = env->GetMethodID(string, "<init>", "([BLjava/lang/String;)V");
    jmethodID make = env->GetMethodID(type, "<init>", "(Ljava/lang/String;)V");
    if (!make_text || !make) return;
    jobject text = env->NewObject(string, make_text, bytes, charset);
    if (!text) return;
    if (jobject exception = env->NewObject(type, make, text)) env->Throw(static_cast<jthrowable>(exception));
  }
}

/// Whether the call went well; else its message is thrown in Java.
bool ok(JNIEnv* env, sparknet_status status) {
  if (status == SPARKNET_OK) return true;
  const sparknet_text message = sparknet_message();
  throw_java(env, std::string(message.data, message.size));
  return false;
}

std::string text_of(JNIEnv* env, jbyteArray bytes) {
  std::string text(static_cast<std::size_t>(env->GetArrayLength(bytes)), '\0');
  env->GetByteArrayRegion(bytes, 0, static_cast<jsize>(text.size()), reinterpret_cast<jbyte*>(text.data()));
  return text;
}

sparknet_text view(const std::string& text) {
  return {text.data(), text.size()};
}

sparknet_solver* solver_of(jlong handle) {
  return reinterpret_cast<sparknet_solver*>(handle);
}

using NetPtr = std::unique_ptr<sparknet_net, decltype(&sparknet_net_free)>;
NetPtr net_of(JNIEnv* env, jlong handle) {
  sparknet_net* net = nullptr;
  ok(env, sparknet_solver_net(solver_of(handle), &net));
  return {net, sparknet_net_free};
}

/// How many floats the weights of a net are; -1 after throwing.
jsize count_weights(JNIEnv* env, const sparknet_net* net) {
  // The only reader of the JSON here, so the one number is found by its name.
  sparknet_bytes* info = nullptr;
  if (!ok(env, sparknet_net_info(net, &info))) return -1;
  const std::string json(static_cast<const char*>(sparknet_bytes_data(info)), sparknet_bytes_size(info));
  sparknet_bytes_free(info);
  const std::size_t at = json.find("\"elements\":");
  return static_cast<jsize>(std::strtoll(json.c_str() + at + std::strlen("\"elements\":"), nullptr, 10));
}

/// The memory of a source: copies of Java's arrays.
struct Columns {
  std::vector<std::string> names;
  std::vector<std::vector<unsigned char>> memory;
  std::vector<sparknet_tensor> tensors;
};

template <class Array, class Element, class Copy>
void copy_array(JNIEnv* env, jobject from, std::vector<unsigned char>& to, Copy copy) {
  const auto array = static_cast<Array>(from);
  const jsize count = env->GetArrayLength(array);
  to.resize(static_cast<std::size_t>(count) * sizeof(Element));
  (env->*copy)(array, 0, count, reinterpret_cast<Element*>(to.data()));
}

/// Copies one array; false after throwing.
bool add_column(JNIEnv* env, Columns& to, std::string name, jobject array, jlongArray shape) {
  sparknet_tensor tensor{};
  tensor.rank = env->GetArrayLength(shape);
  if (tensor.rank > SPARKNET_MAX_RANK) {
    throw_java(env, "column \"" + name + "\" has too many dimensions");
    return false;
  }
  static_assert(sizeof(jlong) == sizeof(std::int64_t));
  env->GetLongArrayRegion(shape, 0, tensor.rank, reinterpret_cast<jlong*>(tensor.shape));
  std::vector<unsigned char>& memory = to.memory.emplace_back();
  std::size_t size = 1;
  const auto is = [&](const char* type) { return env->IsInstanceOf(array, env->FindClass(type)) == JNI_TRUE; };
  if (is("[B")) {
    tensor.dtype = SPARKNET_U8;
    copy_array<jbyteArray, jbyte>(env, array, memory, &JNIEnv::GetByteArrayRegion);
  } else if (is("[I")) {
    tensor.dtype = SPARKNET_I32, size = 4;
    copy_array<jintArray, jint>(env, array, memory, &JNIEnv::GetIntArrayRegion);
  } else if (is("[F")) {
    tensor.dtype = SPARKNET_F32, size = 4;
    copy_array<jfloatArray, jfloat>(env, array, memory, &JNIEnv::GetFloatArrayRegion);
  } else {
    tensor.dtype = SPARKNET_F64, size = 8;
    copy_array<jdoubleArray, jdouble>(env, array, memory, &JNIEnv::GetDoubleArrayRegion);
  }
  std::int64_t wanted = 1;
  for (int i = 0; i < tensor.rank; ++i)
    if (tensor.shape[i] < 0 || __builtin_mul_overflow(wanted, tensor.shape[i], &wanted)) wanted = -1;
  if (wanted != static_cast<std::int64_t>(memory.size() / size)) {
    throw_java(
        env,
        "column \"" + name + "\" has " + std::to_string(memory.size() / size) + " elements, and its shape wants " +
            std::to_string(wanted));
    return false;
  }
  tensor.data = memory.data();
  to.tensors.push_back(tensor);
  to.names.push_back(std::move(name));
  return true;
}

}  // namespace

extern "C" {

JNIEXPORT jlong JNICALL
Java_sparknet_Net_create(JNIEnv* env, jclass, jbyteArray net_text, jbyteArray solver_text, jbyteArray options) {
  sparknet_net_param* net = nullptr;
  sparknet_solver_param* param = nullptr;
  sparknet_solver* solver = nullptr;
  if (ok(env, sparknet_net_param_parse(view(text_of(env, net_text)), view("net"), &net)) &&
      ok(env, sparknet_solver_param_parse(view(text_of(env, solver_text)), view("solver"), &param)))
    ok(env, sparknet_solver_create(param, net, view(text_of(env, options)), &solver));
  sparknet_net_param_free(net);
  sparknet_solver_param_free(param);
  return reinterpret_cast<jlong>(solver);
}

JNIEXPORT void JNICALL Java_sparknet_Net_setData(
    JNIEnv* env, jclass, jlong handle, jobjectArray names, jobjectArray arrays, jobjectArray shapes,
    jbyteArray options) {
  auto columns = std::make_unique<Columns>();
  const jsize count = env->GetArrayLength(names);
  columns->memory.reserve(static_cast<std::size_t>(count));
  for (jsize i = 0; i < count; ++i) {
    std::string name = text_of(env, static_cast<jbyteArray>(env->GetObjectArrayElement(names, i)));
    if (!add_column(
            env,
            *columns,
            std::move(name),
            env->GetObjectArrayElement(arrays, i),
            static_cast<jlongArray>(env->GetObjectArrayElement(shapes, i))))
      return;
  }
  std::vector<sparknet_text> texts;
  for (const std::string& name : columns->names) texts.push_back(view(name));
  const auto release = [](void* context) { delete static_cast<Columns*>(context); };
  sparknet_source* source = nullptr;
  if (!ok(env,
          sparknet_source_from_tensors(
              texts.data(),
              columns->tensors.data(),
              columns->tensors.size(),
              release,
              columns.get(),
              &source)))
    return;
  static_cast<void>(columns.release());  // the source's from now on
  ok(env, sparknet_solver_set_data(solver_of(handle), source, view(text_of(env, options))));
  sparknet_source_free(source);
}

JNIEXPORT jdouble JNICALL Java_sparknet_Net_train(JNIEnv* env, jclass, jlong handle, jlong iterations) {
  double loss = 0;
  ok(env, sparknet_solver_step(solver_of(handle), iterations, &loss));
  return loss;
}

JNIEXPORT jfloatArray JNICALL Java_sparknet_Net_weights(JNIEnv* env, jclass, jlong handle) {
  const NetPtr net = net_of(env, handle);
  if (!net) return nullptr;
  const jsize count = count_weights(env, net.get());
  if (count < 0) return nullptr;
  jfloatArray weights = env->NewFloatArray(count);
  if (!weights) return nullptr;
  std::vector<float> copy(static_cast<std::size_t>(count));
  if (!ok(env, sparknet_net_get_weights(net.get(), copy.data(), copy.size() * sizeof(float)))) return nullptr;
  env->SetFloatArrayRegion(weights, 0, count, copy.data());
  return weights;
}

JNIEXPORT void JNICALL Java_sparknet_Net_setWeights(JNIEnv* env, jclass, jlong handle, jfloatArray weights) {
  const NetPtr net = net_of(env, handle);
  if (!net) return;
  std::vector<float> copy(static_cast<std::size_t>(env->GetArrayLength(weights)));
  env->GetFloatArrayRegion(weights, 0, static_cast<jsize>(copy.size()), copy.data());
  ok(env, sparknet_net_set_weights(net.get(), copy.data(), copy.size() * sizeof(float)));
}

JNIEXPORT jbyteArray JNICALL Java_sparknet_Net_round(JNIEnv* env, jclass, jlong handle, jbyteArray task, jint worker) {
  const std::string bytes = text_of(env, task);
  sparknet_contribution* contribution = nullptr;
  if (!ok(env, sparknet_solver_round(solver_of(handle), bytes.data(), bytes.size(), worker, &contribution)))
    return nullptr;
  sparknet_bytes* encoded = nullptr;
  const bool well = ok(env, sparknet_contribution_encode(contribution, view(""), &encoded));
  sparknet_contribution_free(contribution);
  if (!well) return nullptr;
  const auto size = static_cast<jsize>(sparknet_bytes_size(encoded));
  jbyteArray made = env->NewByteArray(size);
  if (made) env->SetByteArrayRegion(made, 0, size, static_cast<const jbyte*>(sparknet_bytes_data(encoded)));
  sparknet_bytes_free(encoded);
  return made;
}

JNIEXPORT void JNICALL Java_sparknet_Net_save(JNIEnv* env, jclass, jlong handle, jbyteArray file) {
  if (const NetPtr net = net_of(env, handle)) ok(env, sparknet_net_save(net.get(), view(text_of(env, file))));
}

JNIEXPORT void JNICALL Java_sparknet_Net_free(JNIEnv*, jclass, jlong handle) {
  sparknet_solver_free(solver_of(handle));
}

}  // extern "C"
