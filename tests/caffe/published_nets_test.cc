#include <doctest/doctest.h>

#include "examples/models/models.h"
#include "sparknet/caffe/prototxt.h"

using namespace sparknet;

TEST_CASE("published nets are written for Caffe and come back as they were") {
  for (const NetParam& net :
       {example::caffenet(10),
        example::alexnet(10),
        example::cifar10_quick(100),
        example::googlenet(32),
        example::vgg16(4),
        example::resnet50(8, 20),
        example::squeezenet(32),
        example::captioner(100)}) {
    CAPTURE(net.name);
    const std::string text = caffe::to_prototxt(net);
    const NetParam again = caffe::parse_net(text);
    CHECK_MESSAGE(again == net, to_string(again), "\nexpected\n", to_string(net));
    CHECK(caffe::to_prototxt(again) == text);
  }
}
