#pragma once

#include "sparknet/net_param.h"

// Published nets, layer for layer and by the published names, so that weights Caffe trained fit by name. The
// classifiers take "data" [batch, 3, side, side] and "label" [batch, 1] in both phases, and have an accuracy in the
// test phase. Where Caffe's files let a ReLU, a dropout or a batch norm write over its bottom, here it has a top of its
// own name; the net shares the memory by itself.
namespace example {

/// BVLC's reference CaffeNet: AlexNet (Krizhevsky et al. 2012) with each normalisation behind the pooling. 227x227;
/// 60,965,224 parameters.
sparknet::NetParam caffenet(sparknet::Dim batch, sparknet::Dim classes = 1000);

/// BVLC's AlexNet, in the order of the paper: each normalisation before the pooling. 227x227; 60,965,224 parameters.
sparknet::NetParam alexnet(sparknet::Dim batch, sparknet::Dim classes = 1000);

/// Caffe's cifar10_quick. 32x32, ten classes; 145,578 parameters.
sparknet::NetParam cifar10_quick(sparknet::Dim batch);

/// BVLC's GoogLeNet (Szegedy et al. 2014). 224x224; 6,998,552 parameters. In the training phase two more classifiers,
/// of loss weight 0.3, look at the middle of the net: 13,378,280. (BVLC's train_val.prototxt has them in the test phase
/// too, where they change nothing but the sum of the losses.)
sparknet::NetParam googlenet(sparknet::Dim batch, sparknet::Dim classes = 1000);

/// Net D of Simonyan and Zisserman 2014. 138,357,544 parameters at 224x224; another `side`, of at least 32, has another
/// number of them in fc6.
sparknet::NetParam vgg16(sparknet::Dim batch, sparknet::Dim classes = 1000, sparknet::Dim side = 224);

/// He et al. 2015, as in their ResNet-50-deploy.prototxt, with the stride in the first convolution of a block. 224x224;
/// 25,557,032 learned parameters: the weights, and the scales and biases behind the BatchNorms, but not these layers'
/// statistics; and 64 more, the bias of conv1, which that file has and which BatchNorm takes away again.
sparknet::NetParam resnet50(sparknet::Dim batch, sparknet::Dim classes = 1000);

/// SqueezeNet v1.1 (Iandola et al. 2016). 227x227; 1,235,496 parameters.
sparknet::NetParam squeezenet(sparknet::Dim batch, sparknet::Dim classes = 1000);

/// The language half of LRCN (Donahue et al. 2015, two layers, factored): learns to say the next word of a caption.
/// Inputs, of `batch` captions side by side: "image_features" [batch, features], the scores of a net such as caffenet;
/// "input_sentence" [steps, batch], the words so far, of which 0 begins a sentence; "cont_sentence" [steps, batch], 0
/// where a sentence begins and else 1; "target_sentence" [steps, batch], the word that follows, or -1 where none
/// counts. The loss weighs as many as LRCN's 20 steps.
sparknet::NetParam captioner(
    sparknet::Dim batch, sparknet::Dim vocabulary = 8801, sparknet::Dim steps = 20, sparknet::Dim features = 1000);

}  // namespace example
